"""Pages inside a repository that fail, judged by tables; and a real repository that lost what only
its files need.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable, Mapping

import pytest

from kallithea_tune.app.slow_request import Unanswered
from kallithea_tune.app.visit import Answer
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.repository_pages import (
    RepositoryPages,
    WorstPages,
    worst_pages,
)
from kallithea_tune.perf_check.repositories.repository_pages_checks import (
    inside,
    judge_inside,
    judge_worst_page,
    worst_page_times,
)
from kallithea_tune.perf_check.serving.page_times import (
    NoAnswer,
    Page,
    RepositoryVisit,
    WorstPage,
)


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


def test_a_page_without_an_answer_is_not_one_for_which_there_was_no_time() -> None:
    one = visited("hg-one", "hg", {"changelog": Answer("", 200)})
    pages = RepositoryPages("/srv", (one,), frozenset({"hg files"}))
    assert pages.examined == Examined(0, 1, "repository")
    with pytest.raises(NotMeasured, match="^files of hg-one got no answer, see WEB008$"):
        list(inside.judge(pages))


def answer(ms: float, work: str = "git", status: int = 200) -> Answer:
    return Answer("/one", status, ms=(ms,), shares={work: 1.0} if ms > 1000 else {})


@pytest.mark.parametrize(
    "title, sizes, answers, severity, diagnosis, remedy",
    [
        ("summary", {"refs": 9}, [answer(900), answer(80)], "ok", "takes 80 ms", ""),
        # A busy machine needs longer for what it does the first time.
        ("summary", {"refs": 9}, [answer(3000), answer(80)], "ok", "takes 80 ms", ""),
        (
            "summary",
            {"refs": 60000},
            [answer(5000), answer(4000)],
            "warning",
            "takes 4 s",
            "delete tags and branches",
        ),
        ("summary", {"refs": 60000}, [answer(12000)], "error", "takes 12 s", "see GIT002"),
        (
            "summary",
            {"refs": 60000, "README bytes": 900_000},
            [answer(9000, "rendering text"), answer(80)],
            "warning",
            "takes 9 s, the first time after a push",
            "make the README, 900,000 bytes, a short page",
        ),
        (
            "files page",
            {"files": 20000},
            [answer(85000, "Mercurial")],
            "error",
            "takes 85 s",
            "move the 20,000 entries",
        ),
        # What is small is not the cause.
        ("summary", {"refs": 9}, [answer(1500), answer(1500)], "warning", "1.5 s", "see GIT001"),
        ("summary", {"refs": 9}, [answer(10, status=500)], "error", "with 500", "the log"),
    ],
)
def test_pages_with_much_to_show(
    title: str,
    sizes: "dict[str, int]",
    answers: "list[Answer]",
    severity: str,
    diagnosis: str,
    remedy: str,
) -> None:
    page = WorstPage(f"{title} of one", "/one", "one", sizes, tuple(answers))
    found = judge_worst_page(page)
    assert found.severity is Severity[severity] and diagnosis in found.diagnosis
    assert remedy in str(found.remedy) or remedy == "the log"
    assert found.diagnosis.startswith(f"the {title} of one ")


def test_a_page_without_an_answer_is_judged_and_those_without_time_are_not_examined() -> None:
    late = NoAnswer("summary of one", Unanswered(0, 10.5, {"git": 1.0}), {"refs": 60000})
    unseen = WorstPage("files page of two", "/two", "two", {"files": 8})
    hanging = WorstPage("summary of one", "/one", "one", {"refs": 60000})
    measured = WorstPages((hanging, unseen), (late,), Examined(4, 4, "repository"))
    assert measured.examined == Examined(1, 2, "page with much to show")
    (found,) = worst_page_times.judge(measured)
    assert found.severity is Severity.error
    assert found.diagnosis == "the summary of one: no answer in 10.5 s, 100% of it git"
    assert str(found.remedy).startswith("delete tags and branches that nobody needs")


def test_repositories_that_were_not_looked_at_are_no_reason_for_ok() -> None:
    assert not WorstPages((), (), Examined(50, 3000, "repository")).examined.complete


@pytest.mark.once
def test_the_pages_of_the_repositories_with_most_to_show_are_requested(instance: Path) -> None:
    repos = instance.parent / "repos"
    packed = repos / "git-one" / "packed-refs"
    head = packed.read_text().splitlines()[-1].split()[0]
    with packed.open("a") as refs:
        refs.write("".join(f"{head} refs/tags/{number:02}\n" for number in range(50)))
    measured = Context(load(str(instance)), Deadline(120)).measure(worst_pages)
    assert measured.examined.complete and not measured.no_answers
    pages = {page.title: page for page in measured.pages}
    assert pages["summary of git-one"].sizes["refs"] == 51
    assert {page.split(" of ")[0] for page in pages} == {"summary", "changelog", "files page"}
    for page in pages.values():
        assert [item.status for item in page.answers] == [200, 200]
