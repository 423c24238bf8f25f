"""Tries what links depend on: the prefix without its slash, and hosts that are not the site's."""

from __future__ import annotations

from typing import Iterator
from urllib.parse import urlsplit

from kallithea_tune.static_export.verify.client import Answer
from kallithea_tune.static_export.verify.finding import Finding, Problem
from kallithea_tune.static_export.verify.target import Target
from kallithea_tune.static_export.verify.wire import Request

FOREIGN = "evil.example"  # reserved by RFC 2606
# Redirects who is not logged in, by an absolute URL.
REDIRECTING = "/_admin/my_account"


def verify_slash(target: Target) -> Iterator[Finding]:
    """Request the prefix without a slash: it must lead to the site's own pages."""
    prefix = target.wire.prefix
    if not prefix:
        return
    answer = target.wire.send(Request("GET", prefix, target.host))
    message = judge_slash(answer, target.url)
    if message:
        yield Problem("", "identity", f"the prefix without a slash {message}")


def judge_slash(answer: Answer, url: str) -> str:
    """Return what is wrong with the response for the prefix without a slash, or nothing. Pure."""
    site = urlsplit(url)
    if answer.status not in (301, 302, 303, 307, 308):
        return "" if answer.status == 200 else f"is {answer.outcome}, not redirected"
    location = answer.headers.get("location", "")
    parts = urlsplit(location)
    if (parts.netloc and parts.netloc != site.netloc) or (
        parts.scheme and parts.scheme != site.scheme
    ):
        return f"is redirected to another site: {location}"
    if parts.path != site.path.rstrip("/") + "/":
        return f"is redirected to {location}"
    return ""


def verify_hosts(target: Target) -> Iterator[Finding]:
    """Claim another host, in the Host header alone and beside the URL of the request line."""
    prefix = target.wire.prefix
    absolute = f"{urlsplit(target.url).scheme}://{target.wire.host}{prefix}"
    paths = (REDIRECTING, "/")
    usual = {path: target.wire.send(Request("GET", prefix + path, target.host)) for path in paths}
    for place, what in (
        (prefix, "a request for another host"),
        (absolute, "a request whose Host is not that of its URL"),
    ):
        for path in paths:
            answer = target.wire.send(Request("GET", place + path, [("Host", FOREIGN)]))
            where = reflected(answer, usual[path])
            if where:
                message = f"{what} ({FOREIGN}) is answered with {where}"
                yield Problem(path, "identity", message)
                break


def reflected(answer: Answer, usual: Answer) -> str:
    """Return where `FOREIGN` comes back in a response, but not in the `usual` one. Pure."""
    for name in ("location", "content-location", "refresh", "link", "set-cookie"):
        if FOREIGN in answer.headers.get(name, ""):
            return f"{name}: {answer.headers[name]}"
    word = FOREIGN.encode()
    return f"links to {FOREIGN}" if word in answer.body and word not in usual.body else ""
