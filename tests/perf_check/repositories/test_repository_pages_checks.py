"""Pages inside a repository that fail, judged by tables; and a real repository that lost what only
its files need.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable, Mapping

import pytest

from kallithea_tune.app.visit import Answer
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.repository_pages import RepositoryPages
from kallithea_tune.perf_check.repositories.repository_pages_checks import inside, judge_inside
from kallithea_tune.perf_check.serving.page_times import Page, RepositoryVisit


def visited(name: str, kind: str, answers: Mapping[str, Answer]) -> RepositoryVisit:
    return RepositoryVisit(kind, name, Page(name, f"/{name}", ()), answers, (), None)


@pytest.mark.parametrize(
    "changelog, files, severity, diagnosis",
    [
        (200, 200, Severity.ok, "the changelog and files of one are answered"),
        # An empty repository sends its visitors elsewhere.
        (302, 404, Severity.ok, "the changelog and files of one are answered"),
        (500, 200, Severity.error, "changelog of one cannot be viewed: KeyError: x"),
        (200, 502, Severity.error, "files of one cannot be viewed"),
        (500, 500, Severity.error, "changelog and files of one cannot be viewed: KeyError: x"),
    ],
)
def test_pages(changelog: int, files: int, severity: Severity, diagnosis: str) -> None:
    answers = {
        "changelog": Answer("", changelog, failed="KeyError: x"),
        "files": Answer("", files, failed=""),
    }
    found = judge_inside(visited("one", "git", answers), "/srv/my repos/one")
    assert (found.severity, found.diagnosis) == (severity, diagnosis)
    assert ("git -C '/srv/my repos/one' fsck" in found.remedy) == (severity is Severity.error)


def test_a_lost_file_is_found_by_requesting_the_page(
    gearbox: Callable[..., "subprocess.CompletedProcess[str]"], instance: Path
) -> None:
    for name in ("hg-one", "hg-two"):
        (instance.parent / "repos" / name / ".hg" / "store" / "data" / "module__6.py.i").unlink()
    checks = ["--only", "REPO00[34]", "--only", "WEB008"]
    options = [*checks, "-f", "json", "--budget", "60"]
    result = gearbox("perf-check", "-c", instance, *options, cwd=str(instance.parent))
    found = json.loads(result.stdout)
    assert result.returncode == 1 and {item["check"] for item in found} == {
        "REPO003",
        "REPO004",
        "WEB008",
    }
    (error,) = (item for item in found if item["severity"] == "error")
    name = error["subject"]
    assert error["check"] == "REPO004" and error["evidence"] == {"changelog": 200, "files": 500}
    assert error["diagnosis"].startswith(f"files of {name} cannot be viewed: LookupError: ")
    assert f"hg -R {instance.parent}/repos/{name} verify" in error["remedy"]
    assert {
        item["subject"] for item in found if item["check"] == "REPO004" and item["severity"] == "ok"
    } <= {"git-one", "git-two"}


def test_a_repository_for_which_there_was_no_time_is_reported() -> None:
    answers = {"changelog": Answer("", 200), "files": Answer("", 200)}
    one, two = visited("hg-one", "hg", answers), visited("git-one", "git", {})
    pages = RepositoryPages("/srv", (one, two))
    assert not pages.examined.complete
    found = inside.judge(pages)
    assert next(iter(found)).subject == "hg-one"
    with pytest.raises(NotMeasured, match="no time for the pages of git-one$"):
        list(found)
