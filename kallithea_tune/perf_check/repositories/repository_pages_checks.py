"""Whether Kallithea can show what is in the repositories: its pages are asked for."""

from __future__ import annotations

import os
import shlex
from typing import Any, Iterator, Mapping

from kallithea_tune.app.visit import Answer
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.serving.page_times_checks import (
    INSIDE,
    SECONDS,
    SHARED,
    pages_of,
    visited,
)
from kallithea_tune.perf_check.storage.directories_checks import root

VERIFY = {"hg": "hg -R %s verify", "git": "git -C %s fsck"}


def judge_inside(name: str, kind: str, place: str, answers: Mapping[str, Answer]) -> Finding:
    """A page that fails for one repository fails for all of its kind where the library is one that
    Kallithea lacks.
    """
    failing = [page for page, answer in answers.items() if answer.status >= 500]
    common: dict[str, Any] = {
        "subject": name,
        "evidence": {page: answer.status for page, answer in answers.items()},
        "threshold": "none is 500 or more",
        "source": "RFC 9110, section 15.6: the server failed",
    }
    if not failing:
        return Finding(
            Severity.ok,
            "the {} of {} {} answered".format(
                " and ".join(answers), name, "are" if len(answers) > 1 else "is"
            ),
            **common,
        )
    said = answers[failing[0]].failed
    return Finding(
        Severity.error,
        "{} of {} cannot be seen{}".format(
            " and ".join(failing), name, ": " + said if said else ""
        ),
        remedy="if nothing is lost, pip check shows what does not fit; look: "
        + VERIFY[kind] % shlex.quote(place),
        **common,
    )


@check(
    "REPO004",
    "repositories-pages",
    "Pages inside repositories",
    "repositories",
    seconds=SECONDS,
    writes="cache_dir",
    needs=("ini", "database", "app"),
    tags=("probe", "app"),
    shares=SHARED,
)
def inside(context: Context) -> Iterator[Finding]:
    """Ask the application for changelog and files of a repository of each kind, the public one that
    changed last.

    An answer of 500 or more is an error. Such a page fails where contents are lost that no other
    check reads, or where the installed Mercurial or dulwich is one that Kallithea does not know:
    summaries may open all the same. Each page is asked for once, in the same process and as the
    same visitor as those of WEB008, which has the summaries.
    """
    seen, late = visited(context), []
    for kind, path in pages_of(context).items():
        if path == "/":
            continue
        answers = {page: seen[f"{path} {page}"][0] for page in INSIDE if f"{path} {page}" in seen}
        late += [path[1:]] * (len(answers) < len(INSIDE))
        if answers:
            place = os.path.join(root(context), path[1:])
            yield judge_inside(path[1:], kind.split()[0], place, answers)
    if late:
        raise NotMeasured("there was no time for the pages of {}".format(" and ".join(late)))
