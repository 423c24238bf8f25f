"""How well Git repositories are packed, and what that costs a page."""

from __future__ import annotations

import functools
import os
import statistics
from typing import Iterator, Sequence

from kallithea_tune.perf_check import commands
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.remedy import Command, Remedy
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.git import (
    MANY_REFS,
    MOST_LOOSE,
    MOST_PACKS,
    GitRepository,
    Setting,
)
from kallithea_tune.perf_check.repositories.git_history import (
    LONG_WAIT_MS,
    WALKS,
    Histories,
    History,
    histories,
    untidy_histories,
)
from kallithea_tune.perf_check.repositories.survey import Survey, git_survey
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import first_of, shell_word

REFS, SLOW_REFS, LOOSE_REFS = 25_000, MANY_REFS, 1_000
GAIN_MS, BIG_GAIN_MS, UNMEASURED_MS = 50, 500, 300
BITMAP_MB = 50
# 30,000 commits, which git lists in 150 ms, take three times as much.
LEAST_MB = 1
SUMMARY = "summary page"
# How many repositories the evidence lists, and a remedy covers, at most.
NAMED, COVERED = 20, 20


@check(
    "GIT001",
    "git-objects",
    "Loose objects and packs of Git repositories",
    measures=(git_survey, untidy_histories),
    threshold=f"{MOST_LOOSE} loose objects, {MOST_PACKS} packs",
    source="git-config manual, gc.auto and gc.autoPackLimit",
    tags=("probe", "git"),
)
def objects(surveyed: Survey, timed: Histories) -> Iterator[Finding]:
    """Judge loose objects and packs by the limits of git gc, and by the gain for a page."""
    untidy = sorted(
        (repository for repository in surveyed.git if repository.untidy),
        key=lambda repository: -repository.untidiness,
    )
    evidence = {**surveyed.sample(Kind.git), "untidy": len(untidy)}
    if not untidy:
        yield Finding(
            Severity.ok,
            "no Git repository has more objects or packs than git gc allows",
            evidence=evidence,
        )
        return
    worst = untidy[0]
    names = [repository.name for repository in untidy]
    loose, packs = worst.loose.count, worst.packs.count
    evidence = {"loose": loose, "packs": packs, **evidence}
    history = timed.of(worst.name)
    if history.gain_ms:
        evidence.update(now_ms=history.now_ms, graph_ms=history.graph_ms)
    if len(untidy) > 1:
        evidence["names"] = names[:NAMED]
    excess = f"{loose:,} loose objects" if loose > MOST_LOOSE else f"{packs} packs"
    yield Finding(
        Severity.warning if history.gain_ms >= GAIN_MS else Severity.advice,
        f"{excess} in {first_of(names, 1)}{_why_no_gc(worst, surveyed)}",
        evidence=evidence,
        remedy=_gc(untidy[:COVERED], surveyed),
        impact_ms=history.gain_ms if history.gain_ms >= 1 else None,
        excess=history.gain_ms / GAIN_MS,
        impact_per=SUMMARY,
    )


def obstacles(repository: GitRepository, shared: Sequence[Setting]) -> list[Setting]:
    """Return the settings, of the repository or `shared` by all, that keep gc from starting."""
    found = []
    for name in dict.fromkeys(item.name for item in (*shared, *repository.settings)):
        # The last one counts; without it, the one before.
        for setting in reversed([*shared, *repository.settings]):
            if setting.name == name:
                if not _stops(setting, repository):
                    break
                found.append(setting)
    return found


def _stops(setting: Setting, repository: GitRepository) -> bool:
    number, loose, packs = setting.number, repository.loose.count, repository.packs.count
    if setting.stops_all or number is None:
        return setting.stops_all
    if setting.name == "gc.autoPackLimit":
        return packs > MOST_PACKS and (number <= 0 or number >= packs)
    return setting.name == "gc.auto" and loose > MOST_LOOSE and number >= loose


def _why_no_gc(repository: GitRepository, surveyed: Survey) -> str:
    """Return the reason why git does not pack by itself after a push, where it can be seen."""
    for setting in obstacles(repository, surveyed.git_settings):
        place = "there" if setting in repository.settings else f"in {setting.file}"
        return f"; {setting.name} = {setting.value} {place}"
    return "; its gc gave up, see gc.log" if repository.gc_log else ""


def _gc(untidy: Sequence[GitRepository], surveyed: Survey) -> Remedy:
    """Remove what keeps gc from working first, or the objects pile up again."""
    stopping = [item for one in untidy for item in obstacles(one, surveyed.git_settings)]
    unset = [
        Command(("git", "config", "--file", item.file, "--unset-all", item.name))
        for item in dict.fromkeys(stopping)
    ]
    # Objects that no ref reaches are packed, too, where git can do that (2.37).
    collect = [
        commands.git(surveyed.path(one.name), "-c", "gc.cruftPacks=true", "gc", "--quiet")
        for one in untidy
    ]
    return commands.all_of([*unset, *collect])


@check(
    "GIT002",
    "git-refs",
    "Branches and tags of Git repositories",
    measures=(git_survey,),
    threshold=f"{SLOW_REFS}",
    source="our benchmark",
    tags=("probe", "git"),
)
def refs(surveyed: Survey) -> Iterator[Finding]:
    """Judge the number of refs, which each page reads and each fetch sends, and how many of them
    are in files of their own.
    """
    by_refs = sorted(surveyed.git, key=lambda repository: -repository.refs.count)
    by_loose = sorted(surveyed.git, key=lambda repository: -repository.refs.loose)
    many = [repository for repository in by_refs if repository.refs.count > SLOW_REFS]
    loose = [repository for repository in by_loose if repository.refs.loose > LOOSE_REFS]
    evidence = {
        **surveyed.sample(Kind.git),
        "most": by_refs[0].refs.count if by_refs else 0,
        "most_loose": by_loose[0].refs.loose if by_loose else 0,
    }
    finding = functools.partial(Finding, evidence=evidence)
    if many:
        most = many[0].refs.count
        names = first_of([repository.name for repository in many], 1)
        yield finding(
            Severity.warning if most > REFS else Severity.advice,
            f"{most:,} refs in {names}: each page reads all",
            subject="refs",
            threshold=f"{SLOW_REFS}, {REFS}",
            source=f"our benchmark: 0.18 ms per ref and page; git-sizer: {REFS}",
            remedy=_fewer_refs(many[0], surveyed),
        )
    if loose:
        names = first_of([repository.name for repository in loose], 1)
        yield finding(
            Severity.advice,
            f"{loose[0].refs.loose:,} refs in files of their own in {names}",
            subject="loose refs",
            threshold=f"{LOOSE_REFS}",
            source="our benchmark: 0.08 ms per loose ref and page",
            remedy=commands.all_of(
                [
                    commands.git(surveyed.path(repository.name), "pack-refs", "--all")
                    for repository in loose[:COVERED]
                ]
            ),
        )
    if not many and not loose:
        yield finding(Severity.ok, "no Git repository has many refs")


def _fewer_refs(repository: GitRepository, surveyed: Survey) -> str:
    """Only a human knows which are not needed: a sentence, with the command for the most alike."""
    alike = repository.refs.alike or "refs/tags/..."
    few = f"{repository.refs.alike_count:,} are {alike}; " if repository.refs.alike else ""
    git = f"git -C {surveyed.quoted_path(repository.name)}"
    return (
        f"{few}delete those that nobody needs: "
        f"{git} for-each-ref --format='delete %(refname)' {shell_word(alike)} | "
        f"{git} update-ref --stdin"
    )


@check(
    "GIT003",
    "git-graph",
    "Commit-graph and bitmap of Git repositories",
    measures=(git_survey, histories),
    source="our judgement",
    tags=("probe", "git"),
    disturbed_by=(Part.cpu, Part.disk),
)
def graph(surveyed: Survey, timed: Histories) -> Iterator[Finding]:
    """Judge the time that a commit-graph would save pages, and a bitmap clones.

    A history that git cannot list is an error.
    """
    if surveyed.git_total:
        yield from judge_history(surveyed, timed)
        yield judge_graph(surveyed, timed)
        yield judge_bitmap(surveyed)


def judge_history(surveyed: Survey, timed: Histories) -> Iterator[Finding]:
    """A history that git cannot list to its end lacks objects, or its commit-graph is damaged;
    Kallithea shows such a repository as empty.
    """
    failing = {history.name for history in timed.timed if history.graph_fails}
    damaged = [item.name for item in surveyed.git if item.leftovers.damaged_graph]
    graphs = list(dict.fromkeys([*sorted(failing), *damaged]))
    if graphs:
        effect = "git fails on it" if failing else "git may show another history"
        yield Finding(
            Severity.error if failing else Severity.warning,
            f"the commit-graph of {first_of(graphs, 1)} is damaged: {effect}",
            "damaged",
            {**surveyed.sample(Kind.git), "names": graphs[:NAMED]},
            remedy=commands.all_of(
                [step for name in graphs[:COVERED] for step in _anew(surveyed, name)]
            ),
            source="gitformat-commit-graph manual: its hash; git rev-list",
        )
    for history in timed.timed:
        if history.error and history.name not in graphs:
            path = surveyed.quoted_path(history.name)
            yield Finding(
                Severity.error,
                f"git cannot list the history: {history.error}",
                history.name,
                remedy=f"see what is left with git -C {path} fsck; restore the rest from a clone",
                source="git rev-list",
            )


def _anew(surveyed: Survey, name: str) -> tuple[Command, Command]:
    """Remove the commit-graph first, as git reads the old one while it writes a new one."""
    info = os.path.join(surveyed.path(name), "objects", "info")
    graphs = (os.path.join(info, graph) for graph in ("commit-graph", "commit-graphs"))
    return Command(("rm", "-rf", "--", *graphs)), _write_graph(surveyed, name)


def judge_graph(surveyed: Survey, timed: Histories) -> Finding:
    """A commit-graph saves git from reading every commit; both walks of a summary page gain by
    it.
    """
    candidates = {
        repository.name
        for repository in surveyed.git
        if not repository.commit_graph and not repository.untidy
    }
    without = [history for history in timed.timed if history.name in candidates]
    best = max(without, key=lambda history: history.gain_ms, default=History(""))
    # A small one has no long history, so git was waiting for something else.
    large = {item.name for item in surveyed.git if item.bytes >= LEAST_MB * 1e6}
    unmeasured = [item for item in without if item.graph_ms is None and item.name in large]
    longest = max(unmeasured, key=lambda item: item.walk_ms, default=History(""))
    evidence: dict[str, object] = {**surveyed.sample(Kind.git), "timed": len(timed.timed)}
    finding = functools.partial(Finding, subject="commit-graph", threshold=f"{GAIN_MS} ms a page")
    if best.gain_ms >= GAIN_MS:
        times = {"now_ms": best.now_ms, "graph_ms": best.graph_ms, "revisions": best.revisions}
        return finding(
            Severity.warning if best.gain_ms >= BIG_GAIN_MS else Severity.advice,
            f"no commit-graph in {best.name}: pages walk {best.revisions:,} commits",
            evidence={**times, **evidence},
            remedy=_write_graph(surveyed, best.name),
            impact_ms=best.gain_ms,
            excess=best.gain_ms / GAIN_MS,
            impact_per=SUMMARY,
        )
    page_ms = WALKS * longest.walk_ms
    if page_ms >= UNMEASURED_MS:
        more = "more than " if longest.late else ""
        revisions = "unknown" if longest.revisions is None else longest.revisions
        return finding(
            Severity.advice,
            f"no commit-graph in {longest.name}: a page walks it for {more}{page_ms / 1000:.2g} s",
            evidence={
                "now_ms": longest.now_ms,
                "start_ms": longest.start_ms,
                "revisions": revisions,
                **evidence,
            },
            remedy=_write_graph(surveyed, longest.name),
            confidence="medium",
        )
    return finding(
        Severity.ok, "no Git repository timed would gain from a commit-graph", evidence=evidence
    )


def _write_graph(surveyed: Survey, name: str) -> Command:
    return commands.git(surveyed.path(name), "commit-graph", "write", "--reachable")


def judge_bitmap(surveyed: Survey) -> Finding:
    """A bitmap saves git from counting objects for each clone; no page of Kallithea gains by it."""
    without = [
        repository
        for repository in surveyed.git
        if not repository.packs.bitmap and repository.packs.bytes >= BITMAP_MB * 1e6
    ]
    finding = functools.partial(
        Finding,
        subject="bitmap",
        evidence={**surveyed.sample(Kind.git), "without": len(without)},
        threshold=f"packs of {BITMAP_MB} MB",
    )
    if not without:
        return finding(Severity.ok, "each large Git repository has a bitmap for clones")
    without.sort(key=lambda repository: -repository.packs.bytes)
    names = first_of([repository.name for repository in without], 1)
    return finding(
        Severity.advice,
        f"each clone of {names} counts all objects, because it has no bitmap",
        remedy=commands.all_of(
            [
                commands.git(surveyed.path(repository.name), "repack", "-adb", "--quiet")
                for repository in without[:COVERED]
            ]
        ),
    )


@check(
    "GIT004",
    "git-reader",
    "Waits of Kallithea's reader of git",
    measures=(git_survey, histories),
    threshold=f"{LONG_WAIT_MS} ms",
    source="kallithea/lib/vcs/subprocessio.py, SubprocessIOChunker",
    tags=("probe", "git"),
    disturbed_by=(Part.cpu, Part.disk),
)
def reader(surveyed: Survey, timed: Histories) -> Iterator[Finding]:
    """Judge how long Kallithea's reader of git's output waits after it has read enough."""
    if surveyed.git_total:
        yield judge_reader(timed)


def judge_reader(timed: Histories) -> Finding:
    """Every second time, Kallithea's reader misses that it has read enough, and waits a second."""
    history = next((item for item in timed.timed if item.waits_ms), None)
    if history is None:
        return Finding(
            Severity.ok,
            "no Git repository timed has a history long enough to make Kallithea's reader wait",
            evidence={"timed": len(timed.timed)},
        )
    waits = history.waits_ms
    evidence = {
        "waits_ms": [round(wait) for wait in waits],
        "revisions": history.revisions,
        "git_ms": history.now_ms,
    }
    if max(waits) < LONG_WAIT_MS:
        return Finding(
            Severity.ok,
            f"Kallithea's reader of git's output did not wait in {len(waits)} runs",
            evidence=evidence,
        )
    return Finding(
        Severity.warning,
        f"pages of {history.name} wait up to 2 s for nothing",
        evidence=evidence,
        remedy="one line is missing in kallithea/lib/vcs/subprocessio.py: "
        "gearbox perf-check --explain GIT004",
        impact_ms=WALKS * statistics.mean(waits),
        excess=max(waits) / LONG_WAIT_MS,
        impact_per=SUMMARY,
    )
