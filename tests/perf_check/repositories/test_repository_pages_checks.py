"""Pages inside a repository that fail, judged by tables; and a real repository that lost what only
its files need.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kallithea_tune.app.visit import Answer
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.repository_pages_checks import inside, judge_inside


def answers(changelog: int, files: int) -> dict[str, Answer]:
    return {
        "changelog": Answer("", changelog, failed="KeyError: x"),
        "files": Answer("", files, failed=""),
    }


@pytest.mark.parametrize(
    "changelog, files, severity, said",
    [
        (200, 200, Severity.ok, "the changelog and files of one are answered"),
        # An empty repository sends its visitors elsewhere.
        (302, 404, Severity.ok, "the changelog and files of one are answered"),
        (500, 200, Severity.error, "changelog of one cannot be seen: KeyError: x"),
        (200, 502, Severity.error, "files of one cannot be seen"),
        (500, 500, Severity.error, "changelog and files of one cannot be seen: KeyError: x"),
    ],
)
def test_pages(changelog: int, files: int, severity: Severity, said: str) -> None:
    found = judge_inside("one", "git", "/srv/my repos/one", answers(changelog, files))
    assert (found.severity, found.diagnosis) == (severity, said)
    assert ("git -C '/srv/my repos/one' fsck" in found.remedy) == (severity is Severity.error)


def test_a_lost_file_is_found_by_asking_for_the_page(gearbox: Any, instance: Path) -> None:
    for name in ("hg-one", "hg-two"):
        (instance.parent / "repos" / name / ".hg" / "store" / "data" / "module__6.py.i").unlink()
    wanted = ["--only", "REPO00[34]", "--only", "WEB008"]
    result = gearbox(
        "perf-check",
        "-c",
        instance,
        *wanted,
        "-f",
        "json",
        "--budget",
        "60",
        cwd=str(instance.parent),
    )
    found = json.loads(result.stdout)
    assert result.returncode == 1 and {item["check"] for item in found} == {
        "REPO003",
        "REPO004",
        "WEB008",
    }
    (error,) = (item for item in found if item["severity"] == "error")
    assert error["check"] == "REPO004" and error["evidence"] == {"changelog": 200, "files": 500}
    assert error["diagnosis"].startswith(
        "files of {} cannot be seen: LookupError: ".format(error["subject"])
    )
    assert "hg -R {}/repos/{} verify".format(instance.parent, error["subject"]) in error["remedy"]
    assert {
        item["subject"] for item in found if item["check"] == "REPO004" and item["severity"] == "ok"
    } <= {"git-one", "git-two"}


def test_what_there_was_no_time_for_is_said(instance: Path) -> None:
    context = Context(load(str(instance)), Deadline(1))
    context.shared["newest repositories"] = {"hg": "hg-one", "git": "git-one"}, None
    context.shared["application"] = (
        {"/hg-one changelog": [Answer("", 200)], "/hg-one files": [Answer("", 200)]},
        None,
    )
    found = inside.findings(context)
    assert next(iter(found)).subject == "hg-one"
    with pytest.raises(NotMeasured, match="no time for the pages of git-one$"):
        list(found)
