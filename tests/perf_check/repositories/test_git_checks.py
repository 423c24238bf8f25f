"""What is said of Git repositories, judged by tables and on real ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.git_checks import (
    judge_bitmap,
    judge_graph,
    judge_history,
    judge_objects,
    judge_reader,
    judge_refs,
)

TIDY: Mapping[str, Any] = {
    "name": "one",
    "kind": "git",
    "bytes": 10,
    "loose": 0,
    "packs": 1,
    "pack_bytes": 10,
    "bitmap": True,
    "commit_graph": True,
    "refs": 3,
    "loose_refs": 1,
    "gc_log": "",
    "gc_auto": None,
    "receive_autogc": None,
}
TIMED = {"revisions": 5000, "now_ms": 70.0, "graph_ms": 10.0}


def survey(*changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the survey of repositories that differ from a tidy one by `changes`."""
    repositories = [{**TIDY, **change} for change in changes]
    return {
        "root": "/srv",
        "kinds": {"git": len(changes), "hg": 0},
        "examined": repositories,
        "ordered": True,
    }


@pytest.mark.parametrize(
    "change, timed, severity, words",
    [
        ({}, {}, Severity.ok, ""),
        ({"loose": 6700, "packs": 50}, {}, Severity.ok, ""),
        ({"loose": 6701}, {}, Severity.advice, "6701 loose objects in one"),
        ({"packs": 51}, {}, Severity.advice, "51 packs in one"),
        ({"loose": 20000}, {"one": TIMED}, Severity.warning, "20000 loose objects in one"),
        ({"loose": 20000}, {"one": dict(TIMED, now_ms=20.0)}, Severity.advice, ""),
        ({"loose": 20000}, {"one": {"error": "bad object"}}, Severity.advice, ""),
        ({"loose": 9000, "gc_auto": "0"}, {}, Severity.advice, "gc.auto = 0"),
        ({"loose": 9000, "receive_autogc": "false"}, {}, Severity.advice, "receive.autogc is off"),
        ({"loose": 9000, "gc_log": "too many unreachable"}, {}, Severity.advice, "see gc.log"),
    ],
)
def test_objects_and_packs(
    change: Mapping[str, Any], timed: Mapping[str, Any], severity: Severity, words: str
) -> None:
    found = judge_objects(survey(change), timed)
    assert found.severity is severity and words in found.diagnosis
    assert found.remedy == ("" if severity is Severity.ok else "git -C /srv/one gc")


def test_the_gain_is_that_of_two_walks_and_the_worst_repository_comes_first() -> None:
    found = judge_objects(survey({"packs": 60}, {"name": "a b", "loose": 20000}), {"a b": TIMED})
    assert found.impact_ms == 120.0 and "and 1 more" in found.diagnosis
    assert found.remedy == "git -C '/srv/a b' gc" and found.evidence["names"] == ["a b", "one"]


@pytest.mark.parametrize(
    "change, subjects",
    [
        ({"refs": 2500, "loose_refs": 1000}, {"": Severity.ok}),
        ({"refs": 2501}, {"refs": Severity.advice}),
        ({"refs": 25_001}, {"refs": Severity.warning}),
        ({"refs": 1500, "loose_refs": 1001}, {"loose refs": Severity.advice}),
        (
            {"refs": 3000, "loose_refs": 1001},
            {"refs": Severity.advice, "loose refs": Severity.advice},
        ),
    ],
)
def test_refs(change: Mapping[str, Any], subjects: Mapping[str, Severity]) -> None:
    assert {found.subject: found.severity for found in judge_refs(survey(change))} == subjects


@pytest.mark.parametrize(
    "change, timed, severity",
    [
        ({}, TIMED, Severity.ok),
        ({"commit_graph": False}, dict(TIMED, now_ms=34.9), Severity.ok),
        ({"commit_graph": False}, dict(TIMED, now_ms=35.1), Severity.advice),
        ({"commit_graph": False}, dict(TIMED, now_ms=261.0), Severity.warning),
        ({"commit_graph": False, "loose": 20000}, TIMED, Severity.ok),
        ({"commit_graph": False}, {"revisions": 9, "now_ms": 149.0}, Severity.ok),
        ({"commit_graph": False}, {"revisions": 9, "now_ms": 151.0}, Severity.advice),
        ({"commit_graph": False}, {"now_ms": 2000.0, "late": True}, Severity.advice),
        ({"commit_graph": False}, {"error": "bad object"}, Severity.ok),
    ],
)
def test_a_commit_graph_is_advised_for_what_it_was_measured_to_gain(
    change: Mapping[str, Any], timed: Mapping[str, Any], severity: Severity
) -> None:
    found = judge_graph(survey(change), {"one": timed})
    assert found.severity is severity
    if severity > Severity.ok:
        assert found.remedy == "git -C /srv/one commit-graph write --reachable"
        assert (
            (found.impact_ms is None) is ("graph_ms" not in timed) is (found.confidence == "medium")
        )


def test_a_history_that_git_cannot_list_is_an_error() -> None:
    (found,) = judge_history(survey({}), {"one": {"error": "fatal: bad object HEAD"}, "two": TIMED})
    assert (found.severity, found.subject) == (
        Severity.error,
        "one",
    ) and "bad object HEAD" in found.diagnosis


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
    assert judge_bitmap(survey({"bitmap": bitmap, "pack_bytes": size})).severity is severity


@pytest.mark.parametrize(
    "timed, severity, cost",
    [
        ({}, Severity.ok, None),
        ({"one": TIMED}, Severity.ok, None),
        ({"one": dict(TIMED, waits_ms=[1.0, 4.0, 2.0])}, Severity.ok, None),
        ({"one": dict(TIMED, waits_ms=[])}, Severity.ok, None),
        ({"one": dict(TIMED, waits_ms=[0.0, 1000.0])}, Severity.warning, 1000.0),
    ],
)
def test_waits_of_the_reader(timed: Mapping[str, Any], severity: Severity, cost: Any) -> None:
    found = judge_reader(timed)
    assert (found.severity, found.impact_ms) == (severity, cost)


def severities(result: Any) -> dict[tuple[str, str], str]:
    """Return the severity of each finding by check and subject."""
    return {
        (found["check"], found["subject"]): found["severity"] for found in json.loads(result.stdout)
    }


def test_a_real_repository_before_and_after_its_remedies(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    path = instance.parent / "repos" / "git-one"
    stream = b"".join(
        b"commit refs/heads/big\ncommitter me <me@example.com> %d +0000\ndata 1\nx\nM 644 inline a\ndata 4\n%04d\n"
        % (1_500_000_000 + number, number)
        for number in range(2300)
    )
    git = ["git", "-C", str(path)]
    subprocess.run(
        [*git, "-c", "fastimport.unpackLimit=1000000", "fast-import", "--quiet"],
        input=stream,
        check=True,
    )
    refs = "".join("create refs/tags/v%d refs/heads/big\n" % number for number in range(2600))
    subprocess.run(
        [*git, "update-ref", "--stdin"],
        input=refs.replace(
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
    words = ("perf-check", "-c", instance, "--only", "git", "-f", "json")
    before = severities(gearbox(*words, cwd=tmp_path))
    assert before["GIT001", ""] in ("advice", "warning")
    assert (before["GIT002", "refs"], before["GIT002", "loose refs"]) == ("advice", "advice")
    subprocess.run([*git, "gc", "-q"], check=True)
    after = severities(gearbox(*words, cwd=tmp_path))
    assert (after["GIT001", ""], after["GIT002", "refs"]) == ("ok", "advice") and (
        "GIT002",
        "loose refs",
    ) not in after
