"""Whether the application starts, and how long the start and its pages take."""

from __future__ import annotations

import functools
import re
import statistics
from types import MappingProxyType
from typing import Iterator, Mapping, Sequence

from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.visit import Answer
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.serving.page_times import NoAnswer, Visits, visits
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure, shell_word

FLOW_MS, PATIENCE_MS = 1000, 10000
# What is cut off after three times the first limit is too slow however busy the machine is; what is
# cut off after half of the second has no end in sight. Both are our judgement.
SURELY_SLOW_MS, NO_END_MS = 3 * FLOW_MS, PATIENCE_MS // 2
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
    "git": "see GIT001, GIT002 and GIT003",
    "Mercurial": "see HG001 and HG002",
    "SQL": "see DB005 and DB009",
    "rendering text": "see CAC002",
    "templates": "the page shows too much: see what grows in it",
}
# What a page shows that can be too much, from so many on; and what helps. Both were measured with
# Kallithea 0.7.0.
_SIZE_REMEDIES = {
    "repositories": (
        200,
        "move repositories into groups: the front page has a row for each of the {:,} that are "
        "in none, regardless of 'Repository page size'",
    ),
    "refs": (1000, "delete tags and branches that nobody needs, see GIT002: packing does not help"),
    "README bytes": (
        50_000,
        "make the README, {:,} bytes, a short page that links to the rest: Kallithea renders all "
        "of it after each push",
    ),
    "files": (500, "move the {:,} entries of the directory into subdirectories: each is opened"),
    "revisions": (100_000, "see HG001 and HG002: the repository has {:,} revisions"),
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
    sizes = {"repositories": application.outside_groups}
    for page in application.pages:
        if page.answers:
            yield judge_page(page.name, page.answers, sizes if page.path == "/" else {})
    of_worst = {page.title for page in application.worst}
    waited_for = {item.title: item for item in application.no_answers if item.title not in of_worst}
    yield from map(judge_no_answer, waited_for.values())
    late = [
        page.name for page in application.pages if not page.answers and page.name not in waited_for
    ]
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
    request, title, waited_ms = no_answer.request, no_answer.title, no_answer.request.seconds * 1000
    seconds = figure(request.seconds)
    if waited_ms < SURELY_SLOW_MS:
        return Finding(
            Severity.unknown,
            f"not measured: when time ran out, the {title} had not been answered in {seconds} s",
            subject=title,
        )
    share = request.shares.get(request.work, 1.0)
    return Finding(
        Severity.warning if waited_ms < NO_END_MS else Severity.error,
        f"the {title}: no answer in {seconds} s, {share:.0%} of it {request.work}",
        subject=title,
        evidence={
            "waited_s": request.seconds,
            **no_answer.sizes,
            **percentages(request.shares),
            **({"last": request.place} if request.place else {}),
        },
        threshold=f"{FLOW_MS} and {PATIENCE_MS} ms",
        source=NIELSEN,
        remedy=slow_page_remedy(no_answer.sizes, request.work, request.place),
        impact_ms=waited_ms,
        impact_per=f"view of the {title}",
        excess=request.seconds * 1000 / FLOW_MS,
    )


def percentages(shares: Mapping[str, float]) -> Mapping[str, float]:
    """Return the evidence of what the time of a request went into."""
    return {f"in_{work}_percent": share * 100 for work, share in shares.items()}


def slow_page_remedy(sizes: Mapping[str, int], work: str, place: str = "") -> str:
    """Return what helps a page that shows so much and spends most of its time on `work`.

    `place` is the line of Kallithea that was seen last, where it is known.
    """
    for name, (many, remedy) in _SIZE_REMEDIES.items():
        rendering = name == "README bytes"
        if sizes.get(name, 0) >= many and rendering == (work == "rendering text"):
            return remedy.format(sizes[name])
    return _WORK_REMEDIES.get(work, f"see what the application does there: {place or 'unknown'}")


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


def judge_page(
    name: str, answers: Sequence[Answer], sizes: Mapping[str, int] = MappingProxyType({})
) -> Finding:
    """The first request comes after each start; everybody waits for the median of the others.

    `sizes` are those of what the page shows, see `WorstPage`.
    """
    first, *others = answers
    if first.status != 200:
        return _judge_failed_page(name, first)
    if others or first.ms[0] > NO_END_MS:
        return _judge_warm_page(name, first.ms[0], others or answers, sizes)
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


def _judge_warm_page(
    name: str, first_ms: float, others: Sequence[Answer], sizes: Mapping[str, int]
) -> Finding:
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
            **sizes,
            **percentages(others[-1].shares),
        },
        threshold=f"{FLOW_MS} and {PATIENCE_MS} ms",
        source=NIELSEN,
    )
    if warm_ms > FLOW_MS:
        return finding(
            Severity.warning if warm_ms < PATIENCE_MS else Severity.error,
            f"the {name} takes {figure(warm_ms / 1000)} s",
            remedy=slow_page_remedy(sizes, next(iter(others[-1].shares), "SQL"))
            if others[-1].shares
            else f"most of it is spent on {statements} SQL statements: see DB005, DB009"
            if sql_ms > warm_ms / 2
            else "the application is slow, not the database: see CAC002, GIT001, HG001",
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
