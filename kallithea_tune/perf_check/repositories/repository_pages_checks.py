"""Whether Kallithea can show the contents of repositories, and in time where there is much."""

from __future__ import annotations

import functools
import os
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.repositories.repository_pages import (
    RepositoryPages,
    WorstPages,
    repository_pages,
    worst_pages,
)
from kallithea_tune.perf_check.serving.page_times import RepositoryVisit, WorstPage
from kallithea_tune.perf_check.serving.page_times_checks import (
    FLOW_MS,
    NIELSEN,
    PATIENCE_MS,
    SURELY_SLOW_MS,
    judge_no_answer,
    percentages,
    slow_page_remedy,
)
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure, shell_word

SERVER_ERROR = 500


@check(
    "REPO004",
    "repositories-pages",
    "Pages inside repositories",
    measures=(repository_pages,),
    threshold=f"none is {SERVER_ERROR} or more",
    source="RFC 9110, section 15.6: the server failed",
    tags=("probe", "app"),
    disturbed_by=(Part.cpu, Part.disk),
)
def inside(pages: RepositoryPages) -> Iterator[Finding]:
    """Judge the statuses of changelog and files of a repository of each kind."""
    for repository in pages.repositories:
        if repository.inside:
            yield judge_inside(repository, os.path.join(pages.root, repository.name))
    reasons = []
    if pages.silent:
        reasons.append(f"{' and '.join(pages.silent)} got no answer, see WEB008")
    if pages.late:
        reasons.append(f"there was no time for the pages of {' and '.join(pages.late)}")
    if reasons:
        raise NotMeasured("; ".join(reasons))


def judge_inside(repository: RepositoryVisit, path: str) -> Finding:
    """A page that fails for one repository fails for all of its kind where Kallithea lacks a
    library.
    """
    answers = repository.inside
    failing = [page for page, answer in answers.items() if answer.status >= SERVER_ERROR]
    finding = functools.partial(
        Finding,
        subject=repository.name,
        evidence={page: answer.status for page, answer in answers.items()},
    )
    if not failing:
        verb = "are" if len(answers) > 1 else "is"
        return finding(
            Severity.ok, f"the {' and '.join(answers)} of {repository.name} {verb} answered"
        )
    exception = answers[failing[0]].failed
    reason = f": {exception}" if exception else ""
    quoted = shell_word(path)
    verify = f"git -C {quoted} fsck" if repository.kind == "git" else f"hg -R {quoted} verify"
    return finding(
        Severity.error,
        f"{' and '.join(failing)} of {repository.name} cannot be viewed{reason}",
        remedy=f"see whether files are lost with {verify}; if none is: pip check",
    )


@check(
    "REPO007",
    "repositories-worst-pages",
    "Pages with the most to show",
    measures=(worst_pages,),
    threshold=f"{FLOW_MS} and {PATIENCE_MS} ms",
    source=NIELSEN,
    tags=("probe", "app"),
    harm=Harm.some_pages,
    disturbed_by=(Part.cpu, Part.disk),
)
def worst_page_times(measured: WorstPages) -> Iterator[Finding]:
    """Judge the pages of the repositories with the most refs, revisions and files, and the largest
    README.
    """
    yield from map(judge_no_answer, measured.no_answers)
    for page in measured.pages:
        if page.answers:
            yield judge_worst_page(page)


def judge_worst_page(page: WorstPage) -> Finding:
    """The first answer had to be made, as it has to after each push; the last one is for all."""
    first, last = page.answers[0], page.answers[-1]
    first_ms, again_ms = first.ms[0], last.ms[0]
    finding = functools.partial(
        Finding,
        subject=page.title,
        evidence={**page.sizes, "first_ms": first_ms, "again_ms": again_ms},
    )
    if first.status >= SERVER_ERROR:
        reason = f": {first.failed}" if first.failed else ""
        return finding(
            Severity.error,
            f"the {page.title} is answered with {first.status}{reason}",
            remedy="fix the reported error; the application's log has the traceback",
        )
    after_push = again_ms <= FLOW_MS
    slow = first if after_push else last
    if after_push and first_ms <= SURELY_SLOW_MS:
        return finding(Severity.ok, f"the {page.title} takes {figure(again_ms)} ms")
    ms, when = slow.ms[0], ", the first time after a push" if after_push else ""
    work = next(iter(slow.shares), "other code")
    return finding(
        Severity.error if ms >= PATIENCE_MS else Severity.warning,
        f"the {page.title} takes {figure(ms / 1000)} s{when}",
        evidence={
            **page.sizes,
            "first_ms": first_ms,
            "again_ms": again_ms,
            **percentages(slow.shares),
        },
        remedy=slow_page_remedy(page.sizes, work),
        excess=ms / FLOW_MS,
        impact_ms=ms,
        impact_per=f"view of the {page.title}",
    )
