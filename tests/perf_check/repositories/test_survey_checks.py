"""What is said of the repositories as a whole, judged by tables and on a real installation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.survey_checks import (
    judge_broken,
    judge_registered,
    judge_sizes,
    sample,
)

WHOLE = {"name": "big", "kind": "git", "bytes": 3_000_000_000}
EMPTY: Mapping[str, Any] = {
    "root": "/srv/repos",
    "kinds": {"hg": 0, "git": 1},
    "examined": [WHOLE],
    "ordered": True,
    "registered": 1,
    "missing": [],
    "unknown": [],
    "work_trees": [],
    "walked": True,
    "removed": {"count": 0, "bytes": 0, "complete": True},
}


@pytest.mark.parametrize(
    "examined, kinds, ordered, said",
    [
        ([WHOLE], {"hg": 0, "git": 1}, True, 1),
        ([WHOLE] * 12, {"hg": 9_000, "git": 1_000}, True, "12 of 10000, largest first"),
        ([WHOLE] * 12, {"hg": 9_000, "git": 1_000}, False, "12 of 10000"),
    ],
)
def test_the_sample_is_stated(
    examined: list[Any], kinds: Mapping[str, int], ordered: bool, said: object
) -> None:
    assert sample(dict(EMPTY, examined=examined, kinds=kinds, ordered=ordered)) == {
        "repositories": said
    }


@pytest.mark.parametrize(
    "deleted, size, severity",
    [
        (0, 0, Severity.ok),
        (9, 99_000_000, Severity.ok),
        (9, 299_000_000, Severity.ok),
        (9, 301_000_000, Severity.advice),
    ],
)
def test_deleted_repositories_are_worth_purging_when_they_take_a_tenth(
    deleted: int, size: int, severity: Severity
) -> None:
    found = judge_sizes(
        dict(EMPTY, removed={"count": deleted, "bytes": size, "complete": True}), "my.ini"
    )
    assert found.severity is severity
    assert ("repo-purge-deleted" in found.remedy) is (severity is Severity.advice)


@pytest.mark.parametrize(
    "change, subjects",
    [
        ({}, {"": Severity.ok}),
        ({"missing": ["a"], "registered": 2}, {"missing": Severity.warning}),
        ({"missing": ["a", "b"], "registered": 2}, {"missing": Severity.error}),
        ({"unknown": ["a"]}, {"unregistered": Severity.advice}),
        (
            {"work_trees": ["a b"], "missing": ["c"], "registered": 3},
            {"not bare": Severity.advice, "missing": Severity.warning},
        ),
    ],
)
def test_database_and_disk_are_to_agree(
    change: Mapping[str, Any], subjects: Mapping[str, Severity]
) -> None:
    found = list(judge_registered({**EMPTY, **change}, "my.ini"))
    assert {item.subject: item.severity for item in found} == subjects


def test_no_one_is_told_to_forget_repositories_whose_disk_is_not_mounted() -> None:
    (found,) = judge_registered(dict(EMPTY, missing=["a", "b"], registered=2), "my.ini")
    assert "--remove-missing" not in found.remedy and "mounted" in found.remedy


@pytest.mark.parametrize(
    "facts, severity, remedy",
    [
        (WHOLE, Severity.ok, ""),
        (
            {"name": "a b", "kind": "git", "broken": "x"},
            Severity.error,
            "git -C '/srv/repos/a b' fsck",
        ),
        ({"name": "a", "kind": "hg", "broken": "x"}, Severity.error, "hg -R /srv/repos/a verify"),
        (
            {"name": "a", "kind": "hg", "broken": "was abandoned"},
            Severity.error,
            "hg -R /srv/repos/a recover",
        ),
        (
            {"name": "a", "kind": "git", "unreadable": "x: Permission denied"},
            Severity.unknown,
            "user",
        ),
        (
            dict(WHOLE, lost_head="refs/heads/master", branch="refs/heads/main"),
            Severity.warning,
            "git -C /srv/repos/big symbolic-ref HEAD refs/heads/main",
        ),
    ],
)
def test_what_is_broken_is_said_with_its_remedy(
    facts: Mapping[str, Any], severity: Severity, remedy: str
) -> None:
    (found,) = judge_broken(dict(EMPTY, examined=[facts]))
    assert found.severity is severity and remedy in found.remedy


def test_a_real_installation_whole_and_spoilt(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    words = ("perf-check", "-c", instance, "--only", "REPO0*", "-f", "json")
    before = json.loads(gearbox(*words, cwd=tmp_path).stdout)
    assert {found["check"]: found["severity"] for found in before} == {
        "REPO001": "ok",
        "REPO002": "ok",
        "REPO003": "ok",
        "REPO004": "ok",
    }
    repos = instance.parent / "repos"
    shutil.rmtree(str(repos / "git-two"))
    (repos / "git-one" / "HEAD").unlink()
    result = gearbox(*words, cwd=tmp_path)
    after = {found["check"]: found for found in json.loads(result.stdout)}
    assert result.returncode == 1
    assert after["REPO002"]["severity"] == "warning" and "git-two" in after["REPO002"]["diagnosis"]
    assert (after["REPO003"]["severity"], after["REPO003"]["subject"]) == ("error", "git-one")


def test_without_a_database_the_area_is_unknown_and_says_why(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    (instance.parent / "kallithea.db").unlink()
    result = gearbox("perf-check", "-c", instance, "--only", "REPO0*", "-f", "json", cwd=tmp_path)
    found = json.loads(result.stdout)
    assert {item["severity"] for item in found} == {"unknown"} and result.returncode == 5
    # The pages are the application's, which does not load either.
    assert all(
        ("does not load" if item["check"] == "REPO004" else "does not exist") in item["diagnosis"]
        for item in found
    )
    assert not (instance.parent / "kallithea.db").exists()
