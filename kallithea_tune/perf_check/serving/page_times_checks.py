"""Whether the application starts, and how long it takes: to start, for the first request, for the
following ones.
"""

from __future__ import annotations

import re
import statistics
from typing import Any, Iterator, Sequence

from kallithea_tune.app import page_assets, vcs_transfer, visit
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.model import Context, Finding, Severity, check
from kallithea_tune.text import figure

SECONDS = 12.0
SHARED = "application"
# What users wait for without losing their thought, and their patience.
FLOW_MS, PATIENCE_MS = 1000, 10000
NIELSEN = "J. Nielsen, Usability Engineering, 1993, response times: 1 s and 10 s"
ROUNDS = 5
# Of a repository, besides its summary: what most views are of, and what another Mercurial breaks
# first.
INSIDE = {"changelog": "%s/changelog", "files": "%s/files/tip/"}


def visited(context: Context) -> dict[str, list[visit.Answer]]:
    """Load the application once for all checks of the area; return its answers by what was asked.

    The start is the answer ``start``; the first of each page is the first after the start. The
    pages `INSIDE` a repository are ``/NAME changelog`` and so on. Raises wsgi.DoesNotLoad.
    """
    answers: dict[str, list[visit.Answer]] = context.once("application", lambda: _visit(context))
    return answers


def _visit(context: Context) -> dict[str, list[visit.Answer]]:
    pages = pages_of(context)
    asked = [(name, visit.Request(path)) for name, path in pages.items()]
    clones = [
        (
            "clone " + name.split()[0],
            visit.Request(path, walk=vcs_transfer.ask, arguments={"kind": name.split()[0]}),
        )
        for name, path in pages.items()
        if path != "/"
    ]
    inside = [
        (path + " " + page, visit.Request(form % path))
        for path in pages.values()
        if path != "/"
        for page, form in INSIDE.items()
    ]
    # What is asked once and is quick comes first: less time is left behind a slow page.
    plan = [
        asked[0],
        ("files", visit.Request("/", walk=page_assets.ask)),
        *clones,
        *clones,
        *asked[1:],
        *inside,
        *asked * ROUNDS,
    ]
    seen = visit.visit(
        context.instance, [request for _, request in plan], max(1.0, context.deadline.left - 0.5)
    )
    found: dict[str, list[visit.Answer]] = {"start": [visit.Answer("", ms=(seen.start_ms,))]}
    for (name, _), answer in zip(plan, seen.answers):
        if answer.ms:
            found.setdefault(name, []).append(answer)
    return found


def pages_of(context: Context) -> dict[str, str]:
    """Return the pages to ask for: the front page and, where the database names one, a repository
    of each kind.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        repositories = context.once(
            "newest repositories", lambda: visit.repositories(context.instance)
        )
    except (SQLAlchemyError, TuneError):
        # Without a database the application says so itself.
        repositories = {}
    return {
        "front page": "/",
        **{f"{kind} repository": "/" + name for kind, name in repositories.items()},
    }


def judge_failure(failure: visit.DoesNotLoad, ini: str) -> Finding:
    """An application that does not load serves nobody after the next restart."""
    said = failure.message or "it says no more"
    if failure.kind == "SystemExit":
        diagnosis = f"the application does not start, it calls sys.exit: {said}"
    else:
        diagnosis = f"the application does not start: {failure.kind}: {said}"
    return Finding(
        Severity.error,
        diagnosis,
        evidence={"exception": failure.kind},
        threshold="it starts",
        remedy=next(
            (
                remedy
                for pattern, remedy in _REMEDIES
                if re.search(pattern, failure.kind + " " + said)
            ),
            f"mend what it names; gearbox --debug serve -c {ini} shows where",
        ),
    )


_REMEDIES = (
    (
        r"database version|alembic",
        "see DB014: the database and the application are of different versions",
    ),
    (
        r"^(Operational|Programming|Interface|NoSuchModule|Argument|Database)Error",
        "see DB000: the database does not answer",
    ),
    (
        r"^(ModuleNotFound|Import)Error|^(DistributionNotFound|LookupError)",
        "install what is missing with pip in Kallithea's own environment, or mend 'use'",
    ),
)


def judge_start(start_ms: float) -> Finding:
    """Every restart, and every worker that is replaced, takes as long."""
    common: dict[str, Any] = {
        "subject": "start",
        "evidence": {"start_ms": start_ms},
        "threshold": "%d ms" % PATIENCE_MS,
        "source": NIELSEN,
    }
    if start_ms <= PATIENCE_MS:
        return Finding(
            Severity.ok, f"the application starts in {figure(start_ms / 1000)} s", **common
        )
    return Finding(
        Severity.advice,
        f"the application needs {figure(start_ms / 1000)} s to start",
        remedy="see STO001 and DB009; let workers serve more requests before they are replaced (max_requests)",
        impact_ms=start_ms,
        impact_per="start of a worker",
        **common,
    )


def judge_page(name: str, answers: Sequence[visit.Answer]) -> Finding:
    """The median of the requests after the first is what everybody waits for; the first is after
    each start.
    """
    first, *others = answers
    evidence: dict[str, Any] = {"first_ms": first.ms[0]}
    common: dict[str, Any] = {
        "subject": name,
        "evidence": evidence,
        "threshold": "%d ms" % FLOW_MS,
        "source": NIELSEN,
    }
    if first.status >= 500:
        said = ": " + first.failed if first.failed else ""
        evidence.update(status=first.status)
        return Finding(
            Severity.error,
            "the %s is answered with %d%s" % (name, first.status, said),
            remedy="mend what it names; the application's log says where",
            **common,
        )
    if first.status != 200:
        return Finding(
            Severity.unknown,
            "not measured: the %s is answered with status %d" % (name, first.status),
            **common,
        )
    if not others and first.ms[0] <= FLOW_MS:
        # The following ones are quicker still.
        return Finding(
            Severity.ok, f"the {name} takes {figure(first.ms[0])} ms the first time", **common
        )
    if not others:
        return Finding(
            Severity.unknown,
            f"not measured: there was time for one request of {figure(first.ms[0] / 1000)} s",
            **common,
        )
    warm, sql = (
        statistics.median(times) for times in zip(*((one.ms[0], one.sql_ms) for one in others))
    )
    evidence.update(
        warm_ms=warm, sql_ms=sql, statements=others[-1].statements, requests=len(others)
    )
    if warm <= FLOW_MS and first.ms[0] <= PATIENCE_MS:
        return Finding(Severity.ok, f"the {name} takes {figure(warm)} ms", **common)
    if warm <= FLOW_MS:
        return Finding(
            Severity.advice,
            f"the {name} takes {figure(first.ms[0] / 1000)} s for the first who asks",
            remedy="ask for it once after each start of a worker",
            impact_ms=first.ms[0] - warm,
            impact_per="first request of a worker",
            **common,
        )
    where = (
        "%d statements wait for the database: DB005, DB009" % evidence["statements"]
        if sql > warm / 2
        else "not the database but the application: CAC002, and the repositories' own findings"
    )
    return Finding(
        Severity.warning,
        f"the {name} takes {figure(warm / 1000)} s",
        remedy=where,
        impact_ms=warm,
        impact_per="view of the " + name,
        **common,
    )


@check(
    "WEB008",
    "serving-times",
    "Start, first and following requests",
    "serving",
    seconds=SECONDS,
    writes="cache_dir",
    needs=("ini", "database", "app"),
    tags=("probe", "app"),
    shares=SHARED,
)
def times(context: Context) -> Iterator[Finding]:
    """Load the application in a process of its own and ask it for the front page and a repository
    of each kind.

    No web server, no network: this is what Kallithea itself needs. Each page is asked for once,
    which imports modules and compiles templates, and up to five times more, the median of which
    counts. SQL statements are counted and timed. More than 1 s is a warning, a first request or a
    start of more than 10 s is advice; an answer of 500 or an application that does not start is an
    error. It is read as the first admin where it wants a login; the database is read-only, and
    caches and sessions live in a scratch directory inside cache_dir.
    """
    try:
        seen = visited(context)
    except visit.DoesNotLoad as failure:
        yield judge_failure(failure, context.instance.path)
        return
    yield judge_start(seen["start"][0].ms[0])
    pages = list(pages_of(context))
    for name in pages:
        if name in seen:
            yield judge_page(name, seen[name])
    late = [name for name in pages if name not in seen]
    if late:
        raise NotMeasured("there was no time for the {}".format(" and the ".join(late)))
