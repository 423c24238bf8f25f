"""The visit of the application as a result: one for all checks, whether it loads or not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Callable

import pytest

from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.visit import Answer, Request, visit
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.config.redact import Redactor
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Configuration, Context, Deadline, Examined
from kallithea_tune.perf_check.model import all_checks
from kallithea_tune.perf_check.serving.page_times import (
    Application,
    Page,
    RepositoryVisit,
    Visits,
    visits,
)
from kallithea_tune.perf_check.serving.page_times_checks import page_times
from kallithea_tune.perf_check.serving.transfers_checks import transfers

INSTANCE = Instance("my.ini", "main", "app:main", "egg:kallithea", {}, {}, {}, Redactor())
FRONT_PAGE = Page("front page", "/", (Answer("/", 200, ms=(80.0,)),))
# Its summary page was not requested in time.
LATE = RepositoryVisit("hg", "one", Page("hg repository", "/one", ()), {}, (), None)
VISITED = Visits("my.ini", Application(900.0, (), FRONT_PAGE, (LATE,), {}))


def test_the_checks_that_need_the_application_share_one_visit() -> None:
    sharing = {check.id for check in all_checks() if visits in check.measurements}
    assert sharing == {"REPO004", "REPO007", "WEB003", "WEB005", "WEB008", "WEB010", "WEB016"}


def test_an_application_that_does_not_load_is_a_result_that_others_cannot_judge(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "kallithea.db", "gone.db")
    context = Context(load(str(instance)), Deadline(60))
    visited = context.measure(visits)
    assert visited.failure and visited.failure.kind == "OperationalError"
    assert visited.examined == Examined(0, 1, "page")
    with pytest.raises(NotMeasured, match="does not start, see WEB008"):
        list(transfers.findings(context))
    with pytest.raises(DoesNotLoad):
        visited.application  # noqa: B018


def test_pages_that_there_was_no_time_for_are_reported_after_the_others() -> None:
    assert VISITED.examined == Examined(1, 2, "page")
    findings = iter(page_times.judge(VISITED))
    assert [next(findings).subject, next(findings).subject] == ["start", "front page"]
    with pytest.raises(NotMeasured, match="no time for the hg repository"):
        next(findings)


def test_without_a_pull_there_is_nothing_to_judge() -> None:
    with pytest.raises(NotMeasured, match="no repository to clone, or no time"):
        list(transfers.judge(VISITED, Configuration(INSTANCE)))


@pytest.mark.alone
def test_a_page_that_does_not_answer_says_what_it_was_doing(instance: Path) -> None:
    repository = instance.parent / "repos" / "git-one"
    head = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout.strip()
    tags = "".join(f"{head} refs/tags/nightly-{number:06}\n" for number in range(200_000))
    with (repository / "packed-refs").open("a") as refs:
        refs.write(tags)
    config = load(str(instance))
    paths = ["/git-one", "/git-one/changelog", "/", "/hg-one"]
    seen = visit(config, list(map(Request, paths)), 4, patience=4)
    # The others get their time, but what would wait for the same repository is not requested.
    assert [bool(answer.ms) for answer in seen.answers] == [False, False, True, True]
    (late,) = seen.unanswered
    assert late.number == 0 and late.seconds > 2
    assert sum(late.shares.values()) == pytest.approx(1) and late.work == "git"
    assert late.place.startswith("kallithea/lib/vcs/")
