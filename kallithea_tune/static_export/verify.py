"""Asks a real URL for every file of a release, and for what must not be answered."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import mimetypes
import os
import re
import secrets
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence
from urllib.parse import quote

from kallithea_tune.static_export.client import Answer, Client
from kallithea_tune.static_export.manifest import NAME, Manifest, Published

LONG_LIFE = 30 * 86400  # seconds; what a ?ver= URL must be cacheable for at least
# What the application answers without a session and without a change.
HARMLESS = "/_admin/api"
PUSH = 2 << 20  # bytes
# TurboGears2 writes the ETag of a static file as "<modification time as a float>-<size>"
# (tg.support.statics).
APPLICATIONS_ETAG = re.compile(r'^(W/)?"\d+\.\d+-\d+"$')


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the URL path, the coding asked for, and what was seen."""

    path: str
    coding: str
    said: str


def verify(url: str, release: str, found: Manifest, codings: Sequence[str]) -> Iterator[Problem]:
    """Compare what `url` serves with the release on disk: each file plain, in each coding, and with
    ``?ver=``.
    """
    client = Client(url)
    try:
        for path, item in sorted(found.files.items()):
            for coding in ("identity", *codings):
                answer = client.get("/" + quote(path), coding)
                for said in judge_file(path, item, coding, answer):
                    yield Problem("/" + path, coding, said)
            versioned = client.get(f"/{quote(path)}?ver={quote(found.version)}")
            if max_age(versioned.headers) < LONG_LIFE:
                yield Problem(
                    f"/{path}?ver=",
                    "identity",
                    "may not be cached for a month (cache-control: {})".format(
                        versioned.headers.get("cache-control", "none")
                    ),
                )
        yield from _markers(client, release, found)
        yield from _outside(client, found)
        yield from _limits(client)
    finally:
        client.close()


def judge_file(path: str, item: Published, coding: str, answer: Answer) -> Iterator[str]:
    """Say what is wrong with the answer for one file asked for in one coding. Pure."""
    if answer.status != 200:
        yield "answered %d instead of 200" % answer.status
        return
    headers = answer.headers
    got = headers.get("content-encoding", "identity")
    if got not in (coding, "identity"):
        yield f"came as {got} although only {coding} was accepted"
        return
    if got == "identity" and coding != "identity" and item.variants.get(coding):
        yield f"came uncompressed although there is a {coding} variant"
    body = decoded(answer.body, got)
    if hashlib.sha256(body).hexdigest() != item.file.sha256:
        yield "its content differs from the exported file (%d bytes instead of %d)" % (
            len(body),
            item.file.size,
        )
    expected = mimetypes.guess_type(path)[0]
    kind = headers.get("content-type", "none").split(";")[0].strip().lower()
    if expected and kind != expected and not _same_type(kind, expected):
        yield f"came as {kind} instead of {expected}"
    if any(item.variants.values()) and "accept-encoding" not in headers.get("vary", "").lower():
        yield "has variants but no 'Vary: Accept-Encoding', so a proxy may hand out the wrong one"
    if "max-age" not in headers.get("cache-control", ""):
        yield "has no life time (cache-control: {})".format(headers.get("cache-control", "none"))
    if headers.get("x-content-type-options", "").lower() != "nosniff":
        yield "came without 'X-Content-Type-Options: nosniff'"
    if APPLICATIONS_ETAG.match(headers.get("etag", "")):
        yield "was answered by the application, not by the web server (etag: {})".format(
            headers["etag"]
        )


def _same_type(one: str, other: str) -> bool:
    # RFC 9239 made text/javascript the only name; servers and mimetypes still differ. Icons and
    # fonts likewise.
    same = (
        {"text/javascript", "application/javascript", "application/x-javascript"},
        {"image/x-icon", "image/vnd.microsoft.icon"},
        {"font/woff", "application/font-woff"},
        {"font/ttf", "application/x-font-ttf", "application/octet-stream"},
        {"application/vnd.ms-fontobject", "application/octet-stream"},
        {"text/xml", "application/xml"},
        {"text/markdown", "text/plain", "application/octet-stream"},
    )
    return any(one in names and other in names for names in same)


def decoded(body: bytes, coding: str) -> bytes:
    """Undo a content coding. An undecodable body is returned as it is, and will differ from what is
    expected.
    """
    try:
        if coding == "gzip":
            return gzip.decompress(body)
        if coding == "br":
            return bytes(importlib.import_module("brotli").decompress(body))
        if coding == "zstd":
            return bytes(
                importlib.import_module("zstandard")
                .ZstdDecompressor()
                .decompressobj()
                .decompress(body)
            )
    except Exception:
        return body
    return body


def max_age(headers: Mapping[str, str]) -> int:
    """Return the seconds of ``max-age``, 0 where there is none."""
    match = re.search(r"max-age=(\d+)", headers.get("cache-control", ""))
    return int(match[1]) if match else 0


def _markers(client: Client, release: str, found: Manifest) -> Iterator[Problem]:
    """Put a random file into each exported directory and ask for it: only the web server can know
    it.
    """
    for top in sorted({path.split("/")[0] for path in found.files if "/" in path}):
        name = f"{top}/kallithea-tune-{secrets.token_hex(8)}.txt"
        with _marker(os.path.join(release, name)) as content:
            if content is None:
                return
            answer = client.get("/" + name)
            if (answer.status, answer.body) != (200, content):
                yield Problem(
                    f"/{top}/",
                    "identity",
                    (
                        "is not served from %s: a file put there was answered with %d"
                        % (release, answer.status)
                    ),
                )


@contextlib.contextmanager
def _marker(path: str) -> Iterator[bytes | None]:
    content = secrets.token_hex(16).encode()
    try:
        with open(path, "xb") as file:
            file.write(content)
    except OSError:
        yield None
        return
    try:
        os.chmod(path, 0o644)
        yield content
    finally:
        os.unlink(path)


def _outside(client: Client, found: Manifest) -> Iterator[Problem]:
    """Ask for what lies beside and above the exported entries; the manifest is the canary that must
    never sing.
    """
    entries = sorted({path.split("/")[0] for path in found.files})
    directories = [
        entry for entry in entries if any(path.startswith(entry + "/") for path in found.files)
    ]
    tries = ["/" + NAME, "/.git/config", "//" + NAME]
    for entry in directories:
        for up in ("..", "%2e%2e", "..%2f", "%2e%2e%2f", "..%5c"):
            tries.append(f"/{entry}/{up}/{NAME}")
        tries += [f"/{entry}../{NAME}", f"/{entry}%2e%2e/{NAME}"]
        tries += [f"/{entry}/../../../../../../../../etc/passwd", f"/{entry}/.git/config"]
    for path in tries:
        answer = client.get(path)
        if answer.status == 200 and (
            b'"format"' in answer.body[:200] or b"root:" in answer.body[:2000]
        ):
            yield Problem(path, "identity", "lets a file outside of what is exported out")
    for entry in directories:
        # What nginx does with an alias whose location lacks the closing slash.
        for other, item in sorted(found.files.items())[:5]:
            answer = client.get(f"/{entry}../{quote(other)}")
            if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == item.file.sha256:
                yield Problem(
                    f"/{entry}../{other}", "identity", "lets a file outside of what is exported out"
                )
                break
    for entry in directories:
        answer = client.get(f"/{entry}/")
        if answer.status == 200 and re.search(rb"(?i)index of|<title>directory", answer.body):
            yield Problem(f"/{entry}/", "identity", "lists the directory")


def _limits(client: Client) -> Iterator[Problem]:
    """Send what hg and git send: headers as for a repository of 1,000 heads, and a body above
    nginx's usual megabyte.

    Nothing is changed by it: what is sent means nothing to the application.
    """
    usual = client.get(HARMLESS).status
    heads = {"X-HgArg-%d" % number: "0" * 1000 for number in range(1, 43)}
    said = client.get(HARMLESS, **heads).status
    if said != usual:
        yield Problem(
            HARMLESS,
            "identity",
            (
                "headers of 42 KB are answered with %d; hg sends them when it pulls from 1,000 heads"
                % said
            ),
        )
    said = client.request("POST", HARMLESS, b"0" * PUSH, {"User-Agent": "git/2"}).status
    if said in (400, 413):
        yield Problem(
            HARMLESS, "identity", "a push of %d MB is answered with %d" % (PUSH >> 20, said)
        )
