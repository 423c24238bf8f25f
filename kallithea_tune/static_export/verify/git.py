"""Speaks as Git does: protocol version 2, pushes in chunks, compressed bodies.

The headers are those of git 2.39, seen on the wire.
"""

from __future__ import annotations

import gzip
import re
from typing import Iterator
from urllib.parse import quote

from kallithea_tune.static_export.verify.client import Answer
from kallithea_tune.static_export.verify.finding import Finding, Note, Problem
from kallithea_tune.static_export.verify.target import Target
from kallithea_tune.static_export.verify.wire import Headers, Request

AGENT = ("User-Agent", "git/2.39.5")
CODINGS = ("Accept-Encoding", "deflate, gzip, br, zstd")
VERSION_2 = ("Git-Protocol", "version=2")
FLUSH = b"0000"
# The first reference that is advertised, after its length.
_TIP = re.compile(rb"0000[0-9a-f]{4}([0-9a-f]{40}) ")
PUSH_BYTES, CHUNK = 2 << 20, 65536


def verify_push(target: Target) -> Iterator[Finding]:
    """Push 2 MB to a repository that does not exist: in chunks, with a length, expecting 100."""
    usual = target.wire.send(_push(target, [("Content-Length", "4")], [FLUSH]))
    if usual.status < 400:
        message = f"a push to a repository that does not exist is {usual.outcome}"
        yield Problem("/git-receive-pack", "identity", message)
        return
    zeros = b"0" * CHUNK
    pieces = [zeros] * (PUSH_BYTES // CHUNK)
    chunks = [b"%x\r\n%s\r\n" % (CHUNK, zeros)] * (PUSH_BYTES // CHUNK) + [b"0\r\n\r\n"]
    length = ("Content-Length", str(PUSH_BYTES))
    chunked = ("Transfer-Encoding", "chunked")
    size = f"a push of {PUSH_BYTES >> 20} MB"
    for title, header, body in (
        (size, length, pieces),
        (f"{size} in chunks", chunked, chunks),
    ):
        answer = target.wire.send(_push(target, [header], body))
        if answer.status != usual.status:
            yield _problem(f"{title} is {answer.outcome}, a small one with {usual.status}")
    answer = target.wire.send_expecting(_push(target, [length, ("Expect", "100-continue")], pieces))
    if answer.status == 100:
        yield _problem("a push with 'Expect: 100-continue' is not answered before its body comes")
    elif answer.status != usual.status:
        yield _problem(f"a push with 'Expect: 100-continue' is {answer.outcome}")


def _problem(message: str) -> Problem:
    return Problem("/git-receive-pack", "identity", message)


def _push(target: Target, headers: Headers, body: "list[bytes]") -> Request:
    own = [
        *target.host,
        AGENT,
        CODINGS,
        *headers,
        ("Content-Type", "application/x-git-receive-pack-request"),
        ("Accept", "application/x-git-receive-pack-result"),
    ]
    path = f"{target.wire.prefix}{target.nowhere}/git-receive-pack"
    return Request("POST", path, own, body)


def verify_repository(target: Target) -> Iterator[Finding]:
    """Fetch what is there already from a Git repository, with a compressed request body."""
    name = target.repositories.get("git")
    if not name:
        yield Note("not tried: a fetch of git, since no Git repository is known")
        return
    path = f"/{quote(name)}/info/refs?service=git-upload-pack"
    own = [*target.host, AGENT, ("Accept", "*/*"), CODINGS, ("Pragma", "no-cache"), VERSION_2]
    answer = target.wire.send(Request("GET", target.wire.prefix + path, [*own, *target.login]))
    kind = answer.headers.get("content-type", "none")
    if answer.status in (401, 403):
        yield Note(f"not tried: a fetch of git from {name}, which needs a --verify-login")
    elif answer.status != 200 or kind != "application/x-git-upload-pack-advertisement":
        yield Problem(path, "identity", f"git is {answer.outcome} (content-type: {kind})")
    elif b"version 2" in answer.body[:200]:
        return
    else:
        yield from _fetch(target, name, answer)


def _fetch(target: Target, name: str, advertised: Answer) -> Iterator[Finding]:
    tip = _TIP.search(advertised.body)
    if not tip or b" capabilities^{}" in advertised.body:
        yield Note(f"not tried: a fetch of git from {name}, which has no commits")
        return
    wanted = [b"want %s\n" % tip[1], b"", b"have %s\n" % tip[1], b"done\n"]
    text = b"".join(b"%04x%s" % (len(line) + 4, line) if line else FLUSH for line in wanted)
    body = gzip.compress(text)
    path = f"/{quote(name)}/git-upload-pack"
    own = [
        *target.host,
        AGENT,
        CODINGS,
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Accept", "application/x-git-upload-pack-result"),
        VERSION_2,
        ("Content-Encoding", "gzip"),
        ("Content-Length", str(len(body))),
        *target.login,
    ]
    answer = target.wire.send(Request("POST", target.wire.prefix + path, own, [body]))
    if answer.status != 200 or b"PACK" not in answer.body:
        message = f"a fetch of git with a compressed request is {answer.outcome}, without a pack"
        yield Problem(path, "identity", message)
    else:
        yield Note(
            "not tried, since it cannot be seen from outside: whether Git-Protocol arrives; this "
            "Kallithea answers in the protocol's version 0, which git accepts"
        )
