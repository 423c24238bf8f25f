"""Findings about Git repositories, judged by tables and on real ones."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Callable, Mapping, Optional

import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.git import GitRepository, LooseObjects, Packs, Refs
from kallithea_tune.perf_check.repositories.git_checks import (
    graph,
    judge_bitmap,
    judge_graph,
    judge_history,
    judge_reader,
    objects,
    refs,
)
from kallithea_tune.perf_check.repositories.git_history import Histories, History
from kallithea_tune.perf_check.repositories.git_hooks import GitHooks
from kallithea_tune.perf_check.repositories.survey import Survey

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
TIDY = GitRepository(
    "one", LooseObjects(0, 0), Packs(1, 10, True), Refs(3, 1), GitHooks(None), commit_graph=True
)
TIMED = History("one", revisions=5000, now_ms=70.0, graph_ms=10.0)
LATE = History("one", now_ms=2000.0, late=True)
BAD = History("one", error="fatal: bad object HEAD")


def loose(count: int, **changes: Optional[str]) -> GitRepository:
    return replace(TIDY, loose=LooseObjects(count, 0), **changes)


def packed(packs: int, loose: int = 0, bitmap: bool = True, size: int = 10) -> GitRepository:
    return replace(TIDY, loose=LooseObjects(loose, 0), packs=Packs(packs, size, bitmap))


def survey(*repositories: GitRepository) -> Survey:
    return Survey("/srv", len(repositories), 0, len(repositories), git=repositories)


def timed(*histories: Optional[History]) -> Histories:
    return Histories(tuple(filter(None, histories)), 1)


@pytest.mark.parametrize(
    "repository, history, severity, words",
    [
        (TIDY, None, Severity.ok, ""),
        (packed(50, loose=6700), None, Severity.ok, ""),
        (loose(6701), None, Severity.advice, "6701 loose objects in one"),
        (packed(51), None, Severity.advice, "51 packs in one"),
        (loose(20000), TIMED, Severity.warning, "20000 loose objects in one"),
        (loose(20000), replace(TIMED, now_ms=20.0), Severity.advice, ""),
        (loose(20000), BAD, Severity.advice, ""),
        (loose(9000, gc_auto="0"), None, Severity.advice, "gc.auto = 0"),
        (loose(9000, receive_autogc="false"), None, Severity.advice, "receive.autogc is off"),
        (loose(9000, gc_log="too many unreachable"), None, Severity.advice, "see gc.log"),
    ],
)
def test_objects_and_packs(
    repository: GitRepository, history: Optional[History], severity: Severity, words: str
) -> None:
    (found,) = objects.judge(survey(repository), timed(history))
    assert found.severity is severity and words in found.diagnosis
    assert found.remedy == ("" if severity is Severity.ok else "git -C /srv/one gc")


def test_the_gain_is_that_of_two_walks_and_the_worst_repository_comes_first() -> None:
    surveyed = survey(packed(60), replace(loose(20000), name="a b"))
    (found,) = objects.judge(surveyed, timed(replace(TIMED, name="a b")))
    assert found.impact_ms == 120.0 and "and 1 more" in found.diagnosis
    assert found.remedy == "git -C '/srv/a b' gc" and found.evidence["names"] == ["a b", "one"]


@pytest.mark.parametrize(
    "counts, subjects",
    [
        (Refs(2500, loose=1000), {"": Severity.ok}),
        (Refs(2501, loose=1), {"refs": Severity.advice}),
        (Refs(25_001, loose=1), {"refs": Severity.warning}),
        (Refs(1500, loose=1001), {"loose refs": Severity.advice}),
        (Refs(3000, loose=1001), {"refs": Severity.advice, "loose refs": Severity.advice}),
    ],
)
def test_refs(counts: Refs, subjects: Mapping[str, Severity]) -> None:
    found = refs.judge(survey(replace(TIDY, refs=counts)))
    assert {item.subject: item.severity for item in found} == subjects


WITHOUT = replace(TIDY, commit_graph=False)
UNMEASURED = History("one", revisions=9)


@pytest.mark.parametrize(
    "repository, history, severity",
    [
        (TIDY, TIMED, Severity.ok),
        (WITHOUT, replace(TIMED, now_ms=34.9), Severity.ok),
        (WITHOUT, replace(TIMED, now_ms=35.1), Severity.advice),
        (WITHOUT, replace(TIMED, now_ms=261.0), Severity.warning),
        (loose(20000), TIMED, Severity.ok),
        (replace(loose(20000), commit_graph=False), TIMED, Severity.ok),
        (WITHOUT, replace(UNMEASURED, now_ms=149.0), Severity.ok),
        (WITHOUT, replace(UNMEASURED, now_ms=151.0), Severity.advice),
        (WITHOUT, LATE, Severity.advice),
        (WITHOUT, BAD, Severity.ok),
    ],
)
def test_a_commit_graph_is_advised_for_what_it_was_measured_to_gain(
    repository: GitRepository, history: History, severity: Severity
) -> None:
    found = judge_graph(survey(repository), timed(history))
    assert found.severity is severity
    if severity > Severity.ok:
        assert found.remedy == "git -C /srv/one commit-graph write --reachable"
        assert (
            (found.impact_ms is None)
            is (history.graph_ms is None)
            is (found.confidence == "medium")
        )


def test_a_history_that_git_cannot_list_is_an_error() -> None:
    (found,) = judge_history(survey(TIDY), timed(BAD, replace(TIMED, name="two")))
    assert (found.severity, found.subject) == (Severity.error, "one")
    assert "bad object HEAD" in found.diagnosis


def test_without_git_repositories_there_is_nothing_to_judge() -> None:
    assert list(graph.judge(survey(), timed())) == []


@pytest.mark.parametrize(
    "bitmap, size, severity",
    [
        (True, 99_000_000, Severity.ok),
        (False, 49_000_000, Severity.ok),
        (False, 51_000_000, Severity.advice),
    ],
)
def test_a_bitmap_is_advised_for_large_repositories(
    bitmap: bool, size: int, severity: Severity
) -> None:
    found = judge_bitmap(survey(packed(1, bitmap=bitmap, size=size)))
    assert found.severity is severity


@pytest.mark.parametrize(
    "history, severity, cost",
    [
        (None, Severity.ok, None),
        (TIMED, Severity.ok, None),
        (replace(TIMED, waits_ms=(1.0, 4.0, 2.0)), Severity.ok, None),
        (replace(TIMED, waits_ms=()), Severity.ok, None),
        (replace(TIMED, waits_ms=(0.0, 1000.0)), Severity.warning, 1000.0),
    ],
)
def test_waits_of_the_reader(
    history: Optional[History], severity: Severity, cost: Optional[float]
) -> None:
    found = judge_reader(timed(history))
    assert (found.severity, found.impact_ms) == (severity, cost)


def severities(result: "subprocess.CompletedProcess[str]") -> Mapping[tuple[str, str], str]:
    """Return the severity of each finding by check and subject."""
    return {
        (found["check"], found["subject"]): found["severity"] for found in json.loads(result.stdout)
    }


def test_a_real_repository_before_and_after_its_remedies(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    path = instance.parent / "repos" / "git-one"
    stream = b"".join(
        b"commit refs/heads/big\ncommitter me <me@example.com> %d +0000\n"
        b"data 1\nx\nM 644 inline a\ndata 4\n%04d\n" % (1_500_000_000 + number, number)
        for number in range(2300)
    )
    git = ["git", "-C", str(path)]
    subprocess.run(
        [*git, "-c", "fastimport.unpackLimit=1000000", "fast-import", "--quiet"],
        input=stream,
        check=True,
    )
    tags = "".join(f"create refs/tags/v{number} refs/heads/big\n" for number in range(2600))
    subprocess.run(
        [*git, "update-ref", "--stdin"],
        input=tags.replace(
            "refs/heads/big\n",
            subprocess.run(
                [*git, "rev-parse", "big"],
                stdout=subprocess.PIPE,
                check=True,
                universal_newlines=True,
            ).stdout,
        ),
        check=True,
        universal_newlines=True,
    )
    args = ("perf-check", "-c", instance, "--only", "git", "-f", "json")
    before = severities(gearbox(*args, cwd=tmp_path))
    assert before["GIT001", ""] in ("advice", "warning")
    assert (before["GIT002", "refs"], before["GIT002", "loose refs"]) == ("advice", "advice")
    subprocess.run([*git, "gc", "-q"], check=True)
    after = severities(gearbox(*args, cwd=tmp_path))
    assert (after["GIT001", ""], after["GIT002", "refs"]) == ("ok", "advice")
    assert ("GIT002", "loose refs") not in after
