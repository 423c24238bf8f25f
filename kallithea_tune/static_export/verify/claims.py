"""Sends what only proxies may say about host, scheme and address, and looks for it in responses."""

from __future__ import annotations

from typing import Iterator, Sequence

from kallithea_tune.static_export.verify.client import Answer
from kallithea_tune.static_export.verify.crawl import LOGIN
from kallithea_tune.static_export.verify.finding import Finding, Note, Problem
from kallithea_tune.static_export.verify.hosts import FOREIGN, REDIRECTING, reflected
from kallithea_tune.static_export.verify.target import Target
from kallithea_tune.static_export.verify.wire import Headers, Request
from kallithea_tune.static_export.webservers.site import FORWARDING_HEADERS

PATHS = (REDIRECTING, LOGIN, "/")
# What these contain is a path, or the word "on".
_PATHS = ("Prefix", "Script-Name", "Original-URL", "Rewrite-URL")
_SWITCHES = ("X-Forwarded-Ssl", "Front-End-Https")
_SCHEMES = (
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Url-Scheme",
    "X-Scheme",
)


def claims(scheme: str) -> Sequence[Headers]:
    """Return headers in groups that can be sent together. Pure.

    `scheme` is the site's; the other one is claimed. Each is sent twice, and as CGI sees it.
    """
    other = "http" if scheme == "https" else "https"
    switch = "off" if scheme == "https" else "on"
    named = [
        (name, "/" + FOREIGN if name.endswith(_PATHS) else FOREIGN) for name in FORWARDING_HEADERS
    ]
    schemes = [*((name, other) for name in _SCHEMES), *((name, switch) for name in _SWITCHES)]
    return [
        [*named, *named],
        _underscored(named),
        [*schemes, ("Forwarded", f"proto={other}")],
        _underscored(schemes),
    ]


def _underscored(headers: Headers) -> Headers:
    return [(name.replace("-", "_"), value) for name, value in headers if "-" in name]


def verify_claims(target: Target) -> Iterator[Finding]:
    """Send every header by which a proxy reports the client, and compare with what is usual."""
    usual = {path: _sent(target, path, ()) for path in PATHS}
    scheme = target.url.partition(":")[0]
    for group in claims(scheme):
        for path in PATHS:
            if difference(usual[path], _sent(target, path, group)):
                yield from _guilty(target, path, usual[path], group)
                break
    yield Note(
        "not tried, since it cannot be seen from outside: the client's address in Kallithea's log "
        "and journal, which a client could forge if X-Forwarded-For is passed on"
    )


def _guilty(target: Target, path: str, usual: Answer, group: Headers) -> Iterator[Problem]:
    """Send the headers of a group one by one; yield those that make a difference."""
    found = False
    for header in dict.fromkeys(group):
        message = difference(usual, _sent(target, path, [header]))
        if message:
            found = True
            yield Problem(path, "identity", f"{header[0]}: {header[1]} of a client {message}")
    if not found:
        message = difference(usual, _sent(target, path, group))
        yield Problem(path, "identity", f"headers of proxies, sent by a client, {message}")


def _sent(target: Target, path: str, headers: Headers) -> Answer:
    request = Request("GET", target.wire.prefix + path, [*target.host, *headers])
    return target.wire.send(request)


def difference(usual: Answer, claimed: Answer) -> str:
    """Return what a claim changed, or nothing. Pure."""
    where = reflected(claimed, usual)
    if where:
        return f"comes back in {where}"
    if claimed.status != usual.status:
        return f"is {claimed.outcome} instead of {usual.status}"
    before, after = (answer.headers.get("location", "") for answer in (usual, claimed))
    return f"makes redirects to {after} instead of {before}" if before != after else ""
