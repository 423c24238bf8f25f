"""How well Git repositories are packed, and what that costs a page."""

from __future__ import annotations

import functools
import statistics
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.git import MOST_LOOSE, MOST_PACKS, GitRepository
from kallithea_tune.perf_check.repositories.git_history import (
    LONG_WAIT_MS,
    WALKS,
    Histories,
    History,
    histories,
    untidy_histories,
)
from kallithea_tune.perf_check.repositories.survey import Kind, Survey, git_survey
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import first_of

REFS, SLOW_REFS, LOOSE_REFS = 25_000, 2_500, 1_000
GAIN_MS, BIG_GAIN_MS, UNMEASURED_MS = 50, 500, 300
BITMAP_MB = 50
SUMMARY = "summary page"
# How many repositories the evidence lists at most.
NAMED = 20


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
    excess = f"{loose} loose objects" if loose > MOST_LOOSE else f"{packs} packs"
    yield Finding(
        Severity.warning if history.gain_ms >= GAIN_MS else Severity.advice,
        f"{excess} in {first_of(names, 1)}{_why_no_gc(worst)}",
        evidence=evidence,
        remedy=f"git -C {surveyed.quoted_path(worst.name)} gc",
        impact_ms=history.gain_ms if history.gain_ms >= 1 else None,
        impact_per=SUMMARY,
    )


def _why_no_gc(repository: GitRepository) -> str:
    """Return the reason why git does not pack by itself after a push, where it can be seen."""
    if repository.gc_auto == "0":
        return "; gc.auto = 0 there"
    if repository.receive_autogc in ("false", "0", "no", "off"):
        return "; receive.autogc is off there"
    return "; its gc gave up, see gc.log" if repository.gc_log else ""


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
            f"{most} refs in {names}: each page reads all",
            subject="refs",
            threshold=f"{SLOW_REFS}, {REFS}",
            source=f"our benchmark: 0.18 ms per ref and page; git-sizer: {REFS}",
            remedy="delete branches and tags that nobody needs: git push --delete",
        )
    if loose:
        names = first_of([repository.name for repository in loose], 1)
        yield finding(
            Severity.advice,
            f"{loose[0].refs.loose} refs in files of their own in {names}",
            subject="loose refs",
            threshold=f"{LOOSE_REFS}",
            source="our benchmark: 0.08 ms per loose ref and page",
            remedy=f"git -C {surveyed.quoted_path(loose[0].name)} pack-refs --all",
        )
    if not many and not loose:
        yield finding(Severity.ok, "no Git repository has many refs")


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
    """A history that git cannot list to its end lacks objects; Kallithea shows such a repository as
    empty.
    """
    for history in timed.timed:
        if history.error:
            path = surveyed.quoted_path(history.name)
            yield Finding(
                Severity.error,
                f"git cannot list the history: {history.error}",
                history.name,
                remedy=f"see what is left with git -C {path} fsck; restore the rest from a clone",
                source="git rev-list",
            )


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
    unmeasured = [item for item in without if item.graph_ms is None]
    longest = max(unmeasured, key=lambda item: item.now_ms or 0.0, default=History(""))
    evidence: dict[str, object] = {**surveyed.sample(Kind.git), "timed": len(timed.timed)}
    finding = functools.partial(Finding, subject="commit-graph", threshold=f"{GAIN_MS} ms a page")
    if best.gain_ms >= GAIN_MS:
        times = {"now_ms": best.now_ms, "graph_ms": best.graph_ms, "revisions": best.revisions}
        return finding(
            Severity.warning if best.gain_ms >= BIG_GAIN_MS else Severity.advice,
            f"no commit-graph in {best.name}: pages walk {best.revisions} commits",
            evidence={**times, **evidence},
            remedy=_write_graph(surveyed, best),
            impact_ms=best.gain_ms,
            impact_per=SUMMARY,
        )
    page_ms = WALKS * (longest.now_ms or 0.0)
    if page_ms >= UNMEASURED_MS:
        more = "more than " if longest.late else ""
        revisions = "unknown" if longest.revisions is None else longest.revisions
        return finding(
            Severity.advice,
            f"no commit-graph in {longest.name}: a page walks it for {more}{page_ms / 1000:.2g} s",
            evidence={"now_ms": longest.now_ms, "revisions": revisions, **evidence},
            remedy=_write_graph(surveyed, longest),
            confidence="medium",
        )
    return finding(
        Severity.ok, "no Git repository timed would gain by a commit-graph", evidence=evidence
    )


def _write_graph(surveyed: Survey, history: History) -> str:
    return f"git -C {surveyed.quoted_path(history.name)} commit-graph write --reachable"


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
        remedy=f"git -C {surveyed.quoted_path(without[0].name)} repack -adb",
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
            "no Git repository timed is long enough to make Kallithea's reader wait",
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
        impact_per=SUMMARY,
    )
