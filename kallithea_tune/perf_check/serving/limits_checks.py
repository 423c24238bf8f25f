"""Limits of the server that refuse or cut off Mercurial's headers, large pushes and long clones."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Iterator, Mapping

from kallithea_tune.config.wsgi_server import UNLIMITED, Server
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy
from kallithea_tune.perf_check.servers import remedies
from kallithea_tune.perf_check.servers.served import Servers, servers
from kallithea_tune.perf_check.serving.limits import (
    LargestRepository,
    RequestSizes,
    request_sizes,
)
from kallithea_tune.text import megabytes

TEMPLATE_HEADERS, TEMPLATE_BODY, TEMPLATE_SECONDS = 65535, 107374182400, 3600
TEMPLATE = (
    f"Kallithea 0.7.0, ini template: buffer-size = {TEMPLATE_HEADERS}, "
    f"max_request_body_size = {TEMPLATE_BODY}, timeout = {TEMPLATE_SECONDS}"
)
# Bytes of a node with the "+" behind it and its part of the headers' names; the nodes in each
# request of discovery (mercurial/setdiscovery.py); bytes for the rest. getbundle sends the common
# heads and the server's (mercurial/exchange.py). With 301 heads Mercurial 6.3 sent 25,856 bytes,
# which leaves some room.
NODE_BYTES, DISCOVERY_NODES, REST_BYTES = 42, 200, 2048
# The size from which git sends a push in chunks: the default of its http.postBuffer.
GIT_CHUNKS_MB = 1


@check(
    "WEB006",
    "serving-limits",
    "Limits of headers, pushes and time",
    measures=(servers, request_sizes),
    source=TEMPLATE,
    tags=("probe", "hg"),
    harm=Harm.access,
)
def limits(measured: Servers, sizes: RequestSizes) -> Iterator[Finding]:
    """Compare the server's limits with the requests that the repositories here lead to.

    Headers that are too short for a pull are an error; a push of the largest repository that is too
    large, a request that takes too long and a push in chunks that arrives empty are warnings.
    """
    for served in measured.judged:
        server = served.server
        own = [judge_headers(server, sizes.heads)]
        if sizes.largest:
            own += judge_body(server, sizes.largest)
        own += [*judge_chunks(server), *judge_time(server)]
        for finding in own:
            yield replace(finding, confidence=measured.confidence)


def header_need(heads: int) -> int:
    """Return how many bytes of arguments Mercurial sends for a repository with so many heads."""
    return max(DISCOVERY_NODES, 2 * heads) * NODE_BYTES + REST_BYTES


def judge_headers(server: Server, heads: Mapping[str, int]) -> Finding:
    """The headers of a pull grow with the heads of the repository; it fails if they do not fit."""
    worst = max(heads, key=lambda name: heads[name], default="")
    most = heads.get(worst, 0)
    need, limit = header_need(most), server.header_bytes
    finding = functools.partial(
        Finding,
        subject="headers",
        evidence={
            "header_bytes": "not known" if limit is None else limit,
            "needed_bytes": need,
            **({"most_heads": most, "repository": worst} if worst else {}),
        },
        threshold=f"{TEMPLATE_HEADERS} bytes",
    )
    if limit is None:
        return finding(
            Severity.unknown,
            f"not measured: how long headers may be with {server.use or 'this server'}",
        )
    most_possible = (limit - REST_BYTES) // (2 * NODE_BYTES)
    if limit < need:
        many = f" of {worst}, with its {most} heads," if 2 * most > DISCOVERY_NODES else ""
        return finding(
            Severity.error,
            f"hg pull{many} fails: it needs {need} bytes of headers, and {limit} fit",
            remedy=_header_remedy(server, max(need, TEMPLATE_HEADERS)),
        )
    if limit < TEMPLATE_HEADERS:
        return finding(
            Severity.advice,
            f"hg pull fails from {most_possible + 1} heads on: headers of {limit} bytes fit",
            remedy=_header_remedy(server, TEMPLATE_HEADERS),
        )
    return finding(
        Severity.ok, f"Mercurial's headers fit, for repositories with up to {most_possible} heads"
    )


def _header_remedy(server: Server, size: int) -> Remedy:
    option = server.header_option
    if option.lower().replace("_", "") == "limitrequestfields":
        return remedies.setting(server, {option: str(size // 1024 + 11)})
    if option == "limit_request_field_size":
        return remedies.setting(server, {option: "8190"})
    if option:
        return remedies.setting(server, {option: str(size * server.header_factor)})
    return remedies.waitress(server)


def judge_body(server: Server, largest: LargestRepository) -> Iterator[Finding]:
    """A push is one request; the first push of a repository is as large as the repository."""
    limit = server.body_bytes
    if limit is None:
        return
    unlimited = limit == UNLIMITED
    finding = functools.partial(
        Finding,
        subject="body",
        evidence={
            **({"body": "no limit"} if unlimited else {"body_mb": limit / 1e6}),
            "largest_mb": largest.bytes / 1e6,
            "repository": largest.name,
        },
        threshold="the largest repository",
    )
    if limit > largest.bytes:
        fits = "any size" if unlimited else f"up to {megabytes(limit)}"
        yield finding(Severity.ok, f"the server takes pushes of {fits}")
        return
    value = TEMPLATE_BODY if server.kind == "waitress" else 0
    yield finding(
        Severity.warning,
        f"pushes of more than {megabytes(limit)} are refused, and {largest.name} is larger",
        remedy=remedies.setting(server, {server.body_option: str(value)}),
    )


def judge_chunks(server: Server) -> Iterator[Finding]:
    """git sends larger pushes without their length; uWSGI's own HTTP passes no body on then."""
    if server.kind != "uwsgi":
        return
    finding = functools.partial(
        Finding,
        subject="chunks",
        evidence={"speaks": "uwsgi" if server.chunks else "HTTP"},
        threshold=f"{GIT_CHUNKS_MB} MB, git's http.postBuffer",
        source="tried with uWSGI 2.0.21 and git 2.39",
    )
    if server.chunks:
        yield finding(Severity.ok, "the web server passes git's pushes to uWSGI with their length")
        return
    yield finding(
        Severity.warning,
        f"git pushes of more than {GIT_CHUNKS_MB} MB fail at uWSGI's own HTTP",
        remedy="let the web server speak uwsgi (socket, uwsgi_pass), or buffer pushes: "
        "gearbox perf-check --explain WEB006",
    )


def judge_time(server: Server) -> Iterator[Finding]:
    """A clone is one request, which takes long on a slow line; killing its worker cuts it off."""
    seconds = server.request_seconds
    if seconds is None:
        return
    finding = functools.partial(
        Finding,
        subject="time",
        evidence={"request": "no limit"} if seconds == UNLIMITED else {"request_s": seconds},
        threshold=f"{TEMPLATE_SECONDS} s",
    )
    if seconds >= TEMPLATE_SECONDS:
        yield finding(Severity.ok, "the server gives a request the time that it needs")
        return
    yield finding(
        Severity.warning,
        f"clones and pushes that take longer than {seconds} s are cut off",
        remedy=remedies.setting(server, {server.time_option: str(TEMPLATE_SECONDS)}),
    )
