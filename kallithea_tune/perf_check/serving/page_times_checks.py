"""Whether the application starts, and how long the start and its pages take."""

from __future__ import annotations

import functools
import re
import statistics
from typing import Iterator, Sequence

from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.visit import Answer
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.serving.page_times import NoAnswer, Visits, visits
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure, shell_word

FLOW_MS, PATIENCE_MS = 1000, 10000
NIELSEN = "J. Nielsen, Usability Engineering, 1993, response times: 1 s and 10 s"

_REMEDIES = (
    (
        r"database version|alembic",
        "see DB014: the database and the application have different versions",
    ),
    (
        r"^(Operational|Programming|Interface|NoSuchModule|Argument|Database)Error",
        "see DB000: the database does not answer",
    ),
    (
        r"^(ModuleNotFound|Import)Error|^(DistributionNotFound|LookupError)",
        "install what is missing with pip in Kallithea's own environment, or correct 'use'",
    ),
)
# What may be slow in what a request was doing.
_WORK_REMEDIES = {
    "git": "see GIT001, GIT003 and the number of refs: git for-each-ref | wc -l",
    "Mercurial": "see HG001, HG002 and the number of heads and files of the repository",
    "SQL": "see DB005, DB009",
    "rendering text": "see CAC002, and make the README of the repository smaller",
    "templates": "show fewer entries on a page: Admin > Settings > Visual",
}


@check(
    "WEB008",
    "serving-times",
    "Start, first and following requests",
    measures=(visits,),
    tags=("probe", "app"),
    disturbed_by=(Part.cpu, Part.disk),
)
def page_times(visited: Visits) -> Iterator[Finding]:
    """Judge the start of the application, and each page on the first and on further requests.

    An application that does not start, or answers with 500, is an error.
    """
    if visited.failure:
        yield judge_failure(visited.failure, visited.ini)
        return
    application = visited.application
    yield judge_start(application.start_ms)
    for page in application.pages:
        if page.answers:
            yield judge_page(page.name, page.answers)
    waited_for = ""
    if application.no_answer:
        waited_for = application.no_answer.title
        yield judge_no_answer(application.no_answer)
    late = [page.name for page in application.pages if not page.answers and page.name != waited_for]
    if late:
        raise NotMeasured(f"there was no time for the {' and the '.join(late)}")


def judge_failure(failure: DoesNotLoad, ini: str) -> Finding:
    """An application that does not load serves nobody after the next restart."""
    raised = f"{failure.kind} {failure.message}"
    remedies = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, raised))
    return Finding(
        Severity.error,
        f"the application does not start: {failure.reason}",
        evidence={"exception": failure.kind} if failure.kind else {},
        threshold="it starts",
        remedy=next(
            remedies,
            "fix the reported error; "
            f"gearbox --debug serve -c {shell_word(ini)} shows the traceback",
        ),
    )


def judge_no_answer(no_answer: NoAnswer) -> Finding:
    """Its users wait at least as long; what it was doing says where to look."""
    request, title = no_answer.request, no_answer.title
    seconds = figure(request.seconds)
    if request.seconds * 1000 < PATIENCE_MS:
        return Finding(
            Severity.unknown,
            f"not measured: when time ran out, the {title} had not been answered in {seconds} s",
            subject=title,
        )
    work, share = next(iter(request.shares.items()))
    return Finding(
        Severity.error,
        f"the {title}: no answer in {seconds} s, {share:.0%} of it {work}",
        subject=title,
        evidence={
            "waited_s": request.seconds,
            **{f"in_{work}_percent": share * 100 for work, share in request.shares.items()},
            **({"last": request.place} if request.place else {}),
        },
        threshold=f"{PATIENCE_MS} ms",
        source=NIELSEN,
        remedy=_WORK_REMEDIES.get(
            work, f"see what the application does there: {request.place or 'unknown'}"
        ),
        impact_ms=request.seconds * 1000,
        impact_per=f"view of the {title}",
        excess=request.seconds * 1000 / FLOW_MS,
    )


def judge_start(start_ms: float) -> Finding:
    """Every restart, and every worker that is replaced, takes as long."""
    finding = functools.partial(
        Finding,
        subject="start",
        evidence={"start_ms": start_ms},
        threshold=f"{PATIENCE_MS} ms",
        source=NIELSEN,
    )
    seconds = figure(start_ms / 1000)
    if start_ms <= PATIENCE_MS:
        return finding(Severity.ok, f"the application starts in {seconds} s")
    return finding(
        Severity.advice,
        f"the application needs {seconds} s to start",
        remedy="see STO001 and DB009; let each worker serve more requests (max_requests)",
        impact_ms=start_ms,
        impact_per="start of a worker",
    )


def judge_page(name: str, answers: Sequence[Answer]) -> Finding:
    """The first request comes after each start; everybody waits for the median of the others."""
    first, *others = answers
    if first.status != 200:
        return _judge_failed_page(name, first)
    if others:
        return _judge_warm_page(name, first.ms[0], others)
    finding = functools.partial(
        Finding,
        subject=name,
        evidence={"first_ms": first.ms[0]},
        threshold=f"{FLOW_MS} ms",
        source=NIELSEN,
    )
    if first.ms[0] <= FLOW_MS:
        # Further requests are quicker.
        return finding(Severity.ok, f"the {name} takes {figure(first.ms[0])} ms the first time")
    return finding(
        Severity.unknown,
        f"not measured: there was time for one request of {figure(first.ms[0] / 1000)} s",
    )


def _judge_failed_page(name: str, first: Answer) -> Finding:
    finding = functools.partial(Finding, subject=name, threshold=f"{FLOW_MS} ms", source=NIELSEN)
    if first.status < 500:
        return finding(
            Severity.unknown,
            f"not measured: the {name} is answered with status {first.status}",
            evidence={"first_ms": first.ms[0]},
        )
    reason = f": {first.failed}" if first.failed else ""
    return finding(
        Severity.error,
        f"the {name} is answered with {first.status}{reason}",
        evidence={"first_ms": first.ms[0], "status": first.status},
        remedy="fix the reported error; the application's log has the traceback",
    )


def _judge_warm_page(name: str, first_ms: float, others: Sequence[Answer]) -> Finding:
    warm_ms = statistics.median(answer.ms[0] for answer in others)
    sql_ms = statistics.median(answer.sql_ms for answer in others)
    statements = others[-1].statements
    finding = functools.partial(
        Finding,
        subject=name,
        evidence={
            "first_ms": first_ms,
            "warm_ms": warm_ms,
            "sql_ms": sql_ms,
            "statements": statements,
            "requests": len(others),
        },
        threshold=f"{FLOW_MS} ms",
        source=NIELSEN,
    )
    if warm_ms > FLOW_MS:
        return finding(
            Severity.warning,
            f"the {name} takes {figure(warm_ms / 1000)} s",
            remedy=f"most of it is the time of {statements} SQL statements: see DB005, DB009"
            if sql_ms > warm_ms / 2
            else "not the database but the application is slow: see CAC002, GIT001, HG001",
            impact_ms=warm_ms,
            impact_per=f"view of the {name}",
            excess=warm_ms / FLOW_MS,
        )
    if first_ms > PATIENCE_MS:
        return finding(
            Severity.advice,
            f"the {name} takes {figure(first_ms / 1000)} s on the first request",
            remedy="request it once after each start of a worker",
            impact_ms=first_ms - warm_ms,
            impact_per="first request of a worker",
        )
    return finding(Severity.ok, f"the {name} takes {figure(warm_ms)} ms")
