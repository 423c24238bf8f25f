"""Requests that the server refuses or cuts off: Mercurial's long headers, large pushes, long
clones.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.config.wsgi_server import UNLIMITED, Server, server_of
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.survey import SURVEY_SECONDS, survey
from kallithea_tune.system import child
from kallithea_tune.text import megabytes

TEMPLATE = "Kallithea 0.7.0, ini template: buffer-size = 65535, max_request_body_size = 107374182400, timeout = 3600"
TEMPLATE_HEADERS, TEMPLATE_SECONDS = 65535, 3600
# A node, the "+" behind it and its part of the headers' names; getbundle names the common heads and
# the server's (mercurial/exchange.py), each question of discovery 200 nodes
# (mercurial/setdiscovery.py). With 301 heads 25,856 bytes came from Mercurial 6.3, which leaves
# some room.
NODE, QUESTION, BESIDES = 42, 200, 2048
WALK_SECONDS = 1.0
GIT_CHUNKS_MB = 1  # of a push, from which on git sends chunks: its default for http.postBuffer


def header_need(heads: int) -> int:
    """Return how many bytes of arguments Mercurial sends for a repository with so many heads."""
    return max(QUESTION, 2 * heads) * NODE + BESIDES


def judge_headers(server: Server, counted: Mapping[str, int]) -> Finding:
    """A pull of a repository with many heads has headers that grow with them, and fails when they
    do not fit.
    """
    worst = max(counted, key=lambda name: counted[name]) if counted else ""
    need, fits = header_need(counted.get(worst, 0)), server.header_bytes
    evidence: dict[str, Any] = {"header_bytes": fits, "needed_bytes": need}
    if worst:
        evidence.update(most_heads=counted[worst], repository=worst)
    common: dict[str, Any] = {
        "subject": "headers",
        "evidence": evidence,
        "source": TEMPLATE,
        "threshold": "%d bytes" % TEMPLATE_HEADERS,
    }
    if fits is None:
        evidence["header_bytes"] = "not known"
        return Finding(
            Severity.unknown,
            "not measured: how long headers may be with {}".format(server.use or "this server"),
            **common,
        )
    if fits < need:
        what = (
            " of %s, with its %d heads," % (worst, counted[worst])
            if counted.get(worst, 0) * 2 > QUESTION
            else ""
        )
        return Finding(
            Severity.error,
            "hg pull%s fails: %d bytes of headers are needed, and %d fit" % (what, need, fits),
            remedy=_room(server, max(need, TEMPLATE_HEADERS)),
            **common,
        )
    if fits < TEMPLATE_HEADERS:
        return Finding(
            Severity.advice,
            "hg pull fails from %d heads on: headers of %d bytes fit"
            % ((fits - BESIDES) // (2 * NODE) + 1, fits),
            remedy=_room(server, TEMPLATE_HEADERS),
            **common,
        )
    return Finding(
        Severity.ok,
        "Mercurial's headers fit, of repositories with up to %d heads"
        % (((fits - BESIDES) // (2 * NODE),)),
        **common,
    )


def _room(server: Server, size: int) -> str:
    if server.header_option == "limit_request_fields":
        return "set limit_request_fields = %d in %s" % (size // 1024 + 11, server.section)
    if server.header_option == "limit_request_field_size":
        return f"set limit_request_field_size = 8190 in {server.section}"
    if server.header_option:
        return "set %s = %d in %s" % (server.header_option, size, server.section)
    return "use = egg:waitress#main and threads = 1 in the server section"


def judge_body(server: Server, largest: str, size: int) -> Optional[Finding]:
    """A push is one request, as large as what it brings; the first of a repository brings all of
    it.
    """
    if server.body_bytes is None:
        return None
    unlimited = server.body_bytes == UNLIMITED
    common: dict[str, Any] = {
        "subject": "body",
        "source": TEMPLATE,
        "threshold": "the largest repository",
        "evidence": {
            **({"body": "no limit"} if unlimited else {"body_mb": server.body_bytes / 1e6}),
            "largest_mb": size / 1e6,
            "repository": largest,
        },
    }
    fits = "any size" if unlimited else "up to " + megabytes(server.body_bytes)
    if server.body_bytes > size:
        return Finding(Severity.ok, f"the server takes pushes of {fits}", **common)
    return Finding(
        Severity.warning,
        f"pushes of more than {megabytes(server.body_bytes)} are refused, and {largest} is larger",
        remedy=f"set {server.body_option} = 107374182400 in {server.section}"
        if server.kind == "waitress"
        else f"set {server.body_option} = 0 in {server.section}",
        **common,
    )


def judge_chunks(server: Server) -> Optional[Finding]:
    """git does not say how long a larger push will be, and uWSGI's own HTTP then gives Kallithea
    none of it.
    """
    if server.kind != "uwsgi":
        return None
    common: dict[str, Any] = {
        "subject": "chunks",
        "evidence": {"speaks": "uwsgi" if server.chunks else "HTTP"},
        "threshold": "%d MB, git's http.postBuffer" % GIT_CHUNKS_MB,
        "source": "tried with uWSGI 2.0.21 and git 2.39",
    }
    if server.chunks:
        return Finding(
            Severity.ok, "the web server hands git's pushes to uWSGI with their length", **common
        )
    return Finding(
        Severity.warning,
        "git pushes of more than %d MB fail at uWSGI's own HTTP" % GIT_CHUNKS_MB,
        remedy="let the web server speak uwsgi (socket, uwsgi_pass), or buffer pushes: see docs/checks/WEB006.rst",
        **common,
    )


def judge_time(server: Server) -> Optional[Finding]:
    """A clone is one request, which takes as long as the client's line is slow; a killed worker
    cuts it off.
    """
    seconds = server.request_seconds
    if seconds is None:
        return None
    common: dict[str, Any] = {
        "subject": "time",
        "source": TEMPLATE,
        "threshold": "%d s" % TEMPLATE_SECONDS,
        "evidence": {"request": "no limit"} if seconds == UNLIMITED else {"request_s": seconds},
    }
    if seconds >= TEMPLATE_SECONDS:
        return Finding(Severity.ok, "the server gives a request the time that it needs", **common)
    return Finding(
        Severity.warning,
        "clones and pushes that take longer than %d s are cut off" % seconds,
        remedy="set %s = %d in %s" % (server.time_option, TEMPLATE_SECONDS, server.section),
        **common,
    )


@check(
    "WEB006",
    "serving-limits",
    "Limits of headers, pushes and time",
    "serving",
    seconds=SURVEY_SECONDS,
    needs=("ini", "database"),
    tags=("probe", "hg"),
    shares="repositories",
)
def limits(context: Context) -> Iterator[Finding]:
    """Hold the server's limits for headers and bodies against what the repositories here need.

    Mercurial sends the arguments of a pull in headers: up to 200 revisions in each question of
    discovery, and all common heads and all the server's when it asks for the bundle, 42 bytes each.
    The heads are counted in the changelog's index, of the largest repositories first, for a second.
    Where they do not fit, a pull fails: an error. Less than 65,535 bytes, which Kallithea's
    template demands of uWSGI, is advice. A push that brings a whole repository is as large as it: a
    warning where the largest here would be refused. gunicorn kills a worker that is busy with one
    request for longer than its timeout, 30 s by default, and uWSGI after harakiri: a warning below
    the 3,600 s of Kallithea's template. uWSGI that speaks HTTP itself gives Kallithea nothing of
    what comes in chunks, as git's pushes of more than 1 MB do: a warning.

    The limits are those of the server in the ini file; a web server in front has its own.
    """
    server = server_of(context.instance)
    found = context.measure(survey)
    names = [repository.name for repository in found.hg]
    within = min(WALK_SECONDS, max(0.2, context.deadline.left))
    counted = child.call(
        "kallithea_tune.perf_check.serving.hg_heads:count",
        within + 5,
        root=found.root,
        names=names,
        within=within,
    )
    yield judge_headers(server, counted)
    if found.sizes:
        largest = max(found.sizes, key=found.sizes.__getitem__)
        yield from filter(None, [judge_body(server, largest, found.sizes[largest])])
    yield from filter(None, [judge_chunks(server), judge_time(server)])
