"""Whether Kallithea can show the contents of repositories."""

from __future__ import annotations

import functools
import os
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.repository_pages import (
    RepositoryPages,
    repository_pages,
)
from kallithea_tune.perf_check.serving.page_times import RepositoryVisit
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import shell_word

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
    if pages.late:
        raise NotMeasured(f"there was no time for the pages of {' and '.join(pages.late)}")


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
