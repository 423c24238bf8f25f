"""How well Git repositories are packed, and what that costs a page."""

from __future__ import annotations

import os
import statistics
import tempfile
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.app.package import package_directory
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.git_history import LONG_WAIT_MS
from kallithea_tune.perf_check.repositories.survey import Survey
from kallithea_tune.perf_check.repositories.survey_checks import (
    SECONDS,
    SHARED,
    Facts,
    examined,
    named,
    path_of,
    sample,
    survey,
)
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch

JUDGEMENT = "our judgement"
LOOSE, PACKS = 6700, 50
REFS, SLOW_REFS, LOOSE_REFS = 25_000, 2_500, 1_000
GAIN_MS, BIG_GAIN_MS, UNMEASURED_MS = 50, 500, 300
BITMAP_BYTES = 50_000_000
HISTORY_SECONDS = 2.0
WALKS = (
    2  # Kallithea's summary page runs git rev-list and git log over the whole history, each time.
)
TIMED = 5
Timed = Mapping[str, Facts]
SUMMARY = "summary page"


def untidy(facts: Facts) -> float:
    """Return how far a repository is beyond the limits of git gc: above 1 it would pack it."""
    return float(max(facts["loose"] / LOOSE, facts["packs"] / PACKS))


def history(context: Context) -> Timed:
    """Return how long git takes to list the history of the untidiest and the largest, timed once in
    a run.
    """
    found = survey(context)
    wanted = sorted(
        examined(found, "git"),
        key=lambda facts: (-max(untidy(facts), 1), facts["commit_graph"], -facts["bytes"]),
    )[:TIMED]
    timed: Timed = context.once("git history", lambda: _timed(context, found, wanted))
    return timed


def _timed(context: Context, found: Survey, wanted: Sequence[Facts]) -> Timed:
    settings = context.instance.settings
    try:
        reader = os.path.join(
            package_directory(context.instance.use), "lib", "vcs", "subprocessio.py"
        )
    except NotMeasured:
        reader = ""
    within = max(0.5, min(HISTORY_SECONDS, context.deadline.left - 0.3))
    with scratch(tempfile.gettempdir()) as directory:
        timed: Timed = child.call(
            "kallithea_tune.perf_check.repositories.git_history:measure_here",
            within + 8,
            directory=directory,
            repositories=[
                {
                    "name": facts["name"],
                    "path": os.path.join(found["root"], facts["name"]),
                    "commit_graph": facts["commit_graph"],
                }
                for facts in wanted
            ],
            executable=settings.get("git_path", "").strip() or "git",
            reader=reader,
            rev_filter=settings.get("git_rev_filter", "").strip() or "--all",
            within=within,
        )
    return timed


def gain(timed: Timed, name: str) -> float:
    """Return the milliseconds a summary page would gain by a commit-graph, 0 where that was not
    measured.
    """
    facts = timed.get(name, {})
    return (
        float(WALKS * max(0.0, facts["now_ms"] - facts["graph_ms"])) if "graph_ms" in facts else 0.0
    )


def judge_objects(found: Survey, timed: Timed) -> Finding:
    """Above the limits of its own gc, Git finds objects more slowly; how much a page gains was
    measured.
    """
    sick = sorted(
        (facts for facts in examined(found, "git") if untidy(facts) > 1),
        key=lambda facts: -untidy(facts),
    )
    evidence: dict[str, Any] = {**sample(found, "git"), "untidy": len(sick)}
    common: dict[str, Any] = {
        "threshold": "%d loose objects, %d packs" % (LOOSE, PACKS),
        "source": "git-config manual, gc.auto and gc.autoPackLimit",
    }
    if not sick:
        return Finding(
            Severity.ok,
            "no Git repository has more objects or packs than git gc allows",
            evidence=evidence,
            **common,
        )
    worst = sick[0]
    gained = gain(timed, worst["name"])
    evidence = {
        "loose": worst["loose"],
        "packs": worst["packs"],
        **evidence,
        **{key: timed.get(worst["name"], {}).get(key) for key in ("now_ms", "graph_ms") if gained},
    }
    if len(sick) > 1:
        evidence["names"] = [facts["name"] for facts in sick[:20]]
    what = (
        "%d loose objects" % worst["loose"]
        if worst["loose"] > LOOSE
        else "%d packs" % worst["packs"]
    )
    return Finding(
        Severity.warning if gained >= GAIN_MS else Severity.advice,
        "{} in {}{}".format(what, named([facts["name"] for facts in sick], 1), _why_no_gc(worst)),
        evidence=evidence,
        remedy="git -C {} gc".format(path_of(found, worst["name"])),
        impact_ms=gained if gained >= 1 else None,
        impact_per=SUMMARY,
        **common,
    )


def _why_no_gc(facts: Facts) -> str:
    """Say what keeps git from packing by itself after a push, where the repository shows it."""
    if facts["gc_auto"] == "0":
        return "; gc.auto = 0 there"
    if facts["receive_autogc"] in ("false", "0", "no", "off"):
        return "; receive.autogc is off there"
    return "; its gc gave up, see gc.log" if facts["gc_log"] else ""


@check(
    "GIT001",
    "git-objects",
    "Loose objects and packs of Git repositories",
    "repositories",
    seconds=SECONDS + HISTORY_SECONDS,
    needs=("database",),
    tags=("probe", "git"),
    shares=SHARED,
    writes="the system's temporary directory",
)
def objects(context: Context) -> Iterator[Finding]:
    """Count loose objects and packs (without those of a .keep file) of each Git repository that the
    survey examines.

    Above 6700 or 50, git gc --auto would pack them; Kallithea's pushes start it, unless the
    repository's settings or a gc.log say no. What a page gains is timed: git lists the history, as
    Kallithea has it done twice for a summary page, with and without a commit-graph, which gc writes
    as well. From 50 ms on it is a warning (our judgement), otherwise advice. git runs on a scratch
    repository that borrows the objects; the real one is only read.
    """
    found = survey(context)
    sick = any(untidy(facts) > 1 for facts in examined(found, "git"))
    yield judge_objects(found, history(context) if sick else {})


def judge_refs(found: Survey) -> Iterator[Finding]:
    """Each page of Kallithea reads all refs and shows them in its menus; each fetch sends them
    all.
    """
    mine = examined(found, "git")
    many = sorted(
        (facts for facts in mine if facts["refs"] > SLOW_REFS),
        key=lambda facts: -int(facts["refs"]),
    )
    loose = sorted(
        (facts for facts in mine if facts["loose_refs"] > LOOSE_REFS),
        key=lambda facts: -int(facts["loose_refs"]),
    )
    evidence = {
        **sample(found, "git"),
        "most": max((facts["refs"] for facts in mine), default=0),
        "most_loose": max((facts["loose_refs"] for facts in mine), default=0),
    }
    if many:
        yield Finding(
            Severity.warning if many[0]["refs"] > REFS else Severity.advice,
            "%d refs in %s: each page reads all"
            % (many[0]["refs"], named([facts["name"] for facts in many], 1)),
            "refs",
            evidence,
            "%d, %d" % (SLOW_REFS, REFS),
            "our benchmark: 0.18 ms per ref and page; git-sizer: 25000",
            "delete branches and tags that nobody needs: git push --delete",
        )
    if loose:
        yield Finding(
            Severity.advice,
            "%d refs in files of their own in %s"
            % (loose[0]["loose_refs"], named([facts["name"] for facts in loose], 1)),
            "loose refs",
            evidence,
            "%d" % LOOSE_REFS,
            "our benchmark: 0.08 ms per loose ref and page",
            "git -C {} pack-refs --all".format(path_of(found, loose[0]["name"])),
        )
    if not many and not loose:
        yield Finding(
            Severity.ok,
            "no Git repository has many refs",
            "",
            evidence,
            "%d" % SLOW_REFS,
            "our benchmark",
        )


@check(
    "GIT002",
    "git-refs",
    "Branches and tags of Git repositories",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe", "git"),
    shares=SHARED,
)
def refs(context: Context) -> Iterator[Finding]:
    """Count the refs of each Git repository that the survey examines, and those in files of their
    own.

    Kallithea reads all of them for each page. Measured on its summary page: 0.18 ms each, and 0.08
    ms more when it is not packed. 2,500 are advice (0.45 s a page), 25,000 a warning (git-sizer's
    limit); 1,000 loose ones are advice.
    """
    yield from judge_refs(survey(context))


def judge_graph(found: Survey, timed: Timed) -> Finding:
    """A commit-graph saves git from reading every commit; both walks of a summary page gain by
    it.
    """
    without = [
        facts["name"]
        for facts in examined(found, "git")
        if not facts["commit_graph"] and untidy(facts) <= 1 and facts["name"] in timed
    ]
    gains = {name: gain(timed, name) for name in without}
    slow = {
        name: WALKS * timed[name]["now_ms"]
        for name in without
        if "graph_ms" not in timed[name] and "now_ms" in timed[name]
    }
    best = max(gains, key=lambda name: gains[name], default="")
    longest = max(slow, key=lambda name: slow[name], default="")
    write = "git -C %s commit-graph write --reachable"
    evidence: dict[str, Any] = {**sample(found, "git"), "timed": len(timed)}
    common: dict[str, Any] = {
        "subject": "commit-graph",
        "threshold": "%d ms a page" % GAIN_MS,
        "source": JUDGEMENT,
    }
    if gains.get(best, 0) >= GAIN_MS:
        facts = timed[best]
        evidence = {**{key: facts[key] for key in ("now_ms", "graph_ms", "revisions")}, **evidence}
        return Finding(
            Severity.warning if gains[best] >= BIG_GAIN_MS else Severity.advice,
            "no commit-graph in %s: pages walk %d commits" % (best, facts["revisions"]),
            evidence=evidence,
            remedy=write % path_of(found, best),
            impact_ms=gains[best],
            impact_per=SUMMARY,
            **common,
        )
    if slow.get(longest, 0) >= UNMEASURED_MS:
        facts = timed[longest]
        evidence = {
            "now_ms": facts["now_ms"],
            "revisions": facts.get("revisions", "unknown"),
            **evidence,
        }
        return Finding(
            Severity.advice,
            "no commit-graph in {}: a page walks it for {}{:.2g} s".format(
                longest, "more than " * ("late" in facts), slow[longest] / 1000
            ),
            evidence=evidence,
            remedy=write % path_of(found, longest),
            confidence="medium",
            **common,
        )
    return Finding(
        Severity.ok,
        "no Git repository timed would gain by a commit-graph",
        evidence=evidence,
        **common,
    )


def judge_history(found: Survey, timed: Timed) -> Iterator[Finding]:
    """A history that git cannot list to its end lacks objects; Kallithea shows such a repository as
    empty.
    """
    for name, facts in timed.items():
        if "error" in facts:
            yield Finding(
                Severity.error,
                "git cannot list the history: {}".format(facts["error"]),
                name,
                remedy=f"see what is left: git -C {path_of(found, name)} fsck; restore the rest from a clone",
                source="git rev-list",
            )


def judge_bitmap(found: Survey) -> Finding:
    """A bitmap saves git from counting objects for each clone; no page of Kallithea gains by it."""
    without = [
        facts
        for facts in examined(found, "git")
        if not facts["bitmap"] and facts["pack_bytes"] >= BITMAP_BYTES
    ]
    common: dict[str, Any] = {
        "subject": "bitmap",
        "evidence": {**sample(found, "git"), "without": len(without)},
        "threshold": "packs of %d MB" % ((BITMAP_BYTES // 10**6,)),
        "source": JUDGEMENT,
    }
    if not without:
        return Finding(Severity.ok, "each large Git repository has a bitmap for clones", **common)
    largest = max(without, key=lambda facts: int(facts["pack_bytes"]))
    return Finding(
        Severity.advice,
        "each clone of {} counts all objects, for want of a bitmap".format(
            named(
                [largest["name"], *(facts["name"] for facts in without if facts is not largest)], 1
            )
        ),
        remedy="git -C {} repack -adb".format(path_of(found, largest["name"])),
        **common,
    )


@check(
    "GIT003",
    "git-graph",
    "Commit-graph and bitmap of Git repositories",
    "repositories",
    seconds=SECONDS + HISTORY_SECONDS,
    needs=("database",),
    tags=("probe", "git"),
    shares=SHARED,
    writes="the system's temporary directory",
)
def graph(context: Context) -> Iterator[Finding]:
    """Time how git lists the history of up to five large repositories, with a commit-graph (in
    scratch) and without.

    A commit-graph helps git only, not dulwich, with which Kallithea reads trees and files; but
    Kallithea has git list the whole history twice for each summary page, and there it counts.
    Advice from 50 ms a page on, a warning from 500 ms (our judgement). Where there was no time to
    write one, 300 ms of listing are advice of medium confidence. A bitmap helps clones and fetches
    only: advice where packs of 50 MB and more have none. A history that git cannot list is an
    error.
    """
    found = survey(context)
    if found["kinds"]["git"]:
        yield from judge_history(found, history(context))
        yield judge_graph(found, history(context))
        yield judge_bitmap(found)


def judge_reader(timed: Timed) -> Finding:
    """Kallithea's reader of git's output misses, every second time, that it has read enough; then
    it waits a second.
    """
    tried = {name: facts for name, facts in timed.items() if facts.get("waits_ms")}
    common: dict[str, Any] = {
        "threshold": "%d ms" % LONG_WAIT_MS,
        "source": "kallithea/lib/vcs/subprocessio.py, SubprocessIOChunker",
    }
    if not tried:
        return Finding(
            Severity.ok,
            "no Git repository timed is long enough to make Kallithea's reader wait",
            evidence={"timed": len(timed)},
            **common,
        )
    name, facts = next(iter(tried.items()))
    waits = facts["waits_ms"]
    long = sum(wait >= LONG_WAIT_MS for wait in waits)
    evidence = {
        "waits_ms": [round(wait) for wait in waits],
        "revisions": facts["revisions"],
        "git_ms": facts["now_ms"],
    }
    if not long:
        return Finding(
            Severity.ok,
            "Kallithea's reader of git's output did not wait in %d runs" % len(waits),
            evidence=evidence,
            **common,
        )
    return Finding(
        Severity.warning,
        f"pages of {name} wait for nothing, up to 2 s",
        evidence=evidence,
        remedy="one line is missing in kallithea/lib/vcs/subprocessio.py: see docs/checks/GIT004.rst",
        impact_ms=WALKS * statistics.mean(waits),
        impact_per=SUMMARY,
        **common,
    )


@check(
    "GIT004",
    "git-reader",
    "Waits of Kallithea's reader of git",
    "repositories",
    seconds=SECONDS + HISTORY_SECONDS,
    needs=("database",),
    tags=("probe", "git"),
    shares=SHARED,
    writes="the system's temporary directory",
)
def reader(context: Context) -> Iterator[Finding]:
    """Run git through Kallithea's own reader (lib/vcs/subprocessio.py) and without it, and compare.

    Kallithea 0.7.0 stops reading after 73,728 bytes, which is a history of 1,798 revisions, and
    every second time or so fails to notice that it has stopped: it then waits for a second. Pages
    of such a repository run two such commands, clones and fetches one. Of the repositories timed,
    the shortest such history is read up to twelve times.
    """
    if survey(context)["kinds"]["git"]:
        yield judge_reader(history(context))
