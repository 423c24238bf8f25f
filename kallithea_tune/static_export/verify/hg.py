"""Speaks as Mercurial does: every head of a repository in headers, most of them before Host.

Seen on the wire with hg 5.8.1 and 6.9.5, which differ in their User-Agent only.
"""

from __future__ import annotations

from typing import Iterator
from urllib.parse import quote

from kallithea_tune.static_export.verify.client import Answer
from kallithea_tune.static_export.verify.finding import Finding, Note, Problem
from kallithea_tune.static_export.verify.hosts import FOREIGN
from kallithea_tune.static_export.verify.target import Target
from kallithea_tune.static_export.verify.wire import Headers, Request
from kallithea_tune.static_export.webservers.site import HEALTH

# mercurial/httppeer.py, encodevalueinheaders: 1024 bytes for a line with its end, which the server
# offers (httpheader), less "X-HgArg-000", ": " and the end.
VALUE = 1009
NODE, REST = 41, 400  # bytes of a node with its "+", and of the arguments of getbundle without any
PROTOCOL = "0.1 0.2 comp=zstd,zlib,none,bzip2 partial-pull"
AGENT = "mercurial/proto-1.0 (Mercurial 6.9.5)"
# Heads that must pass in any case, and that are worth a note where they do not: both our judgement.
LEAST, MANY = 1000, 5000


def headers(nodes: int, host: Headers, host_first: bool = False) -> Headers:
    """Return the headers of getbundle with so many nodes, in Mercurial's order. Pure.

    A clone of a repository sends one node for each of its heads and one more, a pull two for each.
    """
    text = "0" * (REST + NODE * nodes)
    values = [text[start : start + VALUE] for start in range(0, len(text), VALUE)] if nodes else []
    arguments = [(f"X-HgArg-{number}", value) for number, value in enumerate(values, 1)]
    sent = sorted([*arguments, ("X-HgProto-1", PROTOCOL)])
    vary = ("Vary", ",".join(name for name, _ in sent))
    lines = [("Accept-Encoding", "identity"), vary, *sent, ("Accept", "application/mercurial-0.1")]
    after = [("User-Agent", AGENT)]
    return [*host, *lines, *after] if host_first else [*lines, *host, *after]


def verify_headers(target: Target) -> Iterator[Finding]:
    """Send headers as Mercurial does for as many heads as there are, where they mean nothing."""
    counted = target.heads
    most = counted.most if counted else 0
    if counted is None or counted.uncounted:
        yield Note(
            f"not tried: headers of hg for more than {max(most, LEAST):,} heads, since those of "
            f"{counted.uncounted if counted else 'all'} repositories could not be counted"
        )
    usual = _sent(target, 0)
    for heads, nodes, what in sizes(most):
        answer = _sent(target, nodes)
        if answer.status == usual.status:
            continue
        request = _request(target, nodes)
        message = (
            f"headers of {len(request.head) // 1000} KB, as hg sends them in {what} of "
            f"{heads:,} heads, are {answer.outcome}{_cause(target, nodes, usual, answer)}"
        )
        if heads <= max(LEAST, most):
            yield Problem(HEALTH, "identity", message)
        else:
            yield Note(message + "; no repository here has that many")
        return


def sizes(heads: int) -> Iterator[tuple[int, int, str]]:
    """Yield heads, nodes and what is tried, for repositories with so many heads at most. Pure."""
    yield LEAST, LEAST + 1, "a clone"
    if 2 * heads > LEAST + 1:
        yield heads, 2 * heads, "a pull"
    if 2 * heads <= MANY:
        yield MANY, MANY + 1, "a clone"


def _request(target: Target, nodes: int, host_first: bool = False) -> Request:
    path = f"{target.wire.prefix}{HEALTH}?cmd=getbundle"
    return Request("GET", path, headers(nodes, target.host, host_first))


def _sent(target: Target, nodes: int, host_first: bool = False) -> Answer:
    return target.wire.send(_request(target, nodes, host_first))


def _cause(target: Target, nodes: int, usual: Answer, answer: Answer) -> str:
    """Return who refused the headers, and what to do, as far as that can be seen."""
    if b"waitress" in answer.body or "waitress" in answer.headers.get("server", ""):
        return (
            " by Kallithea's own server, waitress: set max_request_header_size (WEB006 of "
            "perf-check)"
        )
    if _sent(target, nodes, host_first=True).status == usual.status:
        return (
            ", but pass with Host before them: another site comes first on this port, and its "
            "limits count until Host is known; disable it (Debian: rm "
            "/etc/nginx/sites-enabled/default) or raise its large_client_header_buffers"
        )
    # Apache reads all headers with the limits of the first site, wherever Host is.
    foreign = Request("GET", target.wire.prefix + HEALTH, [("Host", FOREIGN)])
    if _is_other_site(target, target.wire.send(foreign)):
        return (
            "; another site seems to come first on this port, since a request for another host is "
            "answered otherwise, and in Apache the limits of the first site count for all: disable "
            "it (Debian: a2dissite 000-default)"
        )
    return ""


def _is_other_site(target: Target, foreign: Answer) -> bool:
    own = target.wire.send(Request("GET", target.wire.prefix + HEALTH, target.host))
    return (own.status, own.body) != (foreign.status, foreign.body)


def verify_repository(target: Target) -> Iterator[Finding]:
    """Request the capabilities of a Mercurial repository."""
    name = target.repositories.get("hg")
    if not name:
        yield Note("not tried: a request of hg, since no Mercurial repository is known")
        return
    path = f"/{quote(name)}?cmd=capabilities"
    answer = target.wire.send(
        Request("GET", target.wire.prefix + path, [*headers(0, target.host), *target.login])
    )
    kind = answer.headers.get("content-type", "none")
    if answer.status in (401, 403):
        yield Note(f"not tried: a request of hg for {name}, which needs a --verify-login")
    elif answer.status != 200 or not kind.startswith("application/mercurial-"):
        yield Problem(path, "identity", f"hg is {answer.outcome} (content-type: {kind})")
