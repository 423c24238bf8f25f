"""Requests every file of a release from a running web server, and what it must not serve."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import mimetypes
import os
import re
import secrets
from typing import Iterator, Mapping, Optional, Sequence
from urllib.parse import quote

from kallithea_tune.static_export.release.manifest import NAME, Manifest, Published
from kallithea_tune.static_export.release.publish import Progress, silent
from kallithea_tune.static_export.verify.client import Answer, Client
from kallithea_tune.static_export.verify.finding import Finding, Note, Problem
from kallithea_tune.static_export.verify.lives import judge_life, queries

# TurboGears2 writes the ETag of a static file as "<modification time as a float>-<size>"
# (tg.support.statics).
APPLICATIONS_ETAG = re.compile(r'^(W/)?"\d+\.\d+-\d+"$')


def verify(
    url: str, directory: str, release: Manifest, progress: Progress = silent
) -> Iterator[Finding]:
    """Compare what `url` serves with the `release` in `directory`.

    Requests each file plain, in each coding, and with ``?ver=``; then what must not be served.
    Raises ConfigError when the server cannot be reached.
    """
    client = Client(url)
    try:
        yield from _files(client, release, progress)
        yield from _markers(client, directory, release)
        yield from _traversal(client, release)
        yield from _listings(client, release)
    finally:
        client.close()


def _files(client: Client, release: Manifest, progress: Progress) -> Iterator[Finding]:
    uncompressed: dict[str, list[str]] = {coding: [] for coding in release.recipe.codings}
    negotiated: set[str] = set()
    for number, (path, item) in enumerate(sorted(release.files.items())):
        progress("requesting the files", number, len(release.files))
        for coding, query, lasting in _requests(item, release):
            answer = client.get("/" + quote(path) + query, coding)
            for message in judge_file(path, item, coding, answer, lasting):
                yield Problem("/" + path + query, coding, message)
            if "content-encoding" in answer.headers:
                negotiated.add(answer.headers["content-encoding"])
            elif answer.status == 200 and item.variants.get(coding):
                uncompressed[coding].append(path + query)
    for coding, paths in uncompressed.items():
        yield from judge_coding(coding, paths, coding in negotiated)


def judge_coding(coding: str, uncompressed: Sequence[str], negotiated: bool) -> Iterator[Finding]:
    """Yield what files that came without their variant amount to. Pure.

    A server that never sends a coding cannot negotiate it, as nginx zstd; all can gzip.
    """
    if negotiated or (uncompressed and coding == "gzip"):
        for path in uncompressed:
            message = f"came uncompressed although there is a {coding} variant"
            yield Problem("/" + path, coding, message)
    elif uncompressed:
        count = len({path.partition("?")[0] for path in uncompressed})
        yield Note(f"the web server never sends {coding}, so {count} variants are of no use")


def _requests(item: Published, release: Manifest) -> Iterator[tuple[str, str, bool]]:
    """Yield the codings and queries to request a file with, and whether it lasts then. Pure.

    Both what is beside `LASTING` and what is below it has variants.
    """
    for query, lasting in queries(item, release).items():
        for coding in ("identity", *release.recipe.codings):
            if lasting or not query or coding == "identity":
                yield coding, query, lasting


def judge_file(
    path: str, item: Published, coding: str, answer: Answer, lasting: bool = False
) -> Iterator[str]:
    """Yield what is wrong with the response for one file requested in one coding. Pure.

    `lasting` is whether it can have no other content at this URL.
    """
    if answer.status != 200:
        yield f"answered with {answer.status} instead of 200"
        return
    received = answer.headers.get("content-encoding", "identity")
    if received not in (coding, "identity"):
        yield f"came as {received} although only {coding} was accepted"
        return
    body = decoded(answer.body, received)
    if hashlib.sha256(body).hexdigest() != item.file.sha256:
        yield (
            f"its content differs from the exported file ({len(body)} bytes instead of "
            f"{item.file.size})"
        )
    expected = mimetypes.guess_type(path)[0]
    content_type = answer.headers.get("content-type", "none").split(";")[0].strip().lower()
    if expected and content_type != expected and not _same_type(content_type, expected):
        yield f"came as {content_type} instead of {expected}"
    yield from _judge_headers(answer.headers, any(item.variants.values()))
    yield from judge_life(answer.headers, lasting)


def _judge_headers(headers: Mapping[str, str], has_variants: bool) -> Iterator[str]:
    vary = [name.strip().lower() for name in headers.get("vary", "").split(",")]
    if has_variants and "accept-encoding" not in vary:
        yield "has variants but no 'Vary: Accept-Encoding', so a proxy may serve the wrong one"
    if "*" in vary:
        yield "came with 'Vary: *', so no proxy may keep it"
    if len(set(vary)) < len(vary):
        yield f"came with the same name in Vary more than once ({headers['vary']})"
    if headers.get("x-content-type-options", "").lower() != "nosniff":
        yield "came without 'X-Content-Type-Options: nosniff'"
    etag = headers.get("etag", "")
    if APPLICATIONS_ETAG.match(etag):
        yield f"was answered by the application, not by the web server (etag: {etag})"


def _same_type(one: str, other: str) -> bool:
    # RFC 9239 made text/javascript the only name; servers and mimetypes still differ, also about
    # icons and fonts.
    synonyms = (
        {"text/javascript", "application/javascript", "application/x-javascript"},
        {"image/x-icon", "image/vnd.microsoft.icon"},
        {"font/woff", "application/font-woff"},
        {"font/ttf", "application/x-font-ttf", "application/octet-stream"},
        {"application/vnd.ms-fontobject", "application/octet-stream"},
        {"text/xml", "application/xml"},
        {"text/markdown", "text/plain", "application/octet-stream"},
    )
    return any(one in names and other in names for names in synonyms)


def decoded(body: bytes, coding: str) -> bytes:
    """Undo a content coding. A body that cannot be decoded is returned unchanged."""
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


def _markers(client: Client, directory: str, release: Manifest) -> Iterator[Finding]:
    """Put a random file into each exported directory and request it: only the web server has it."""
    for top in release.directories:
        name = f"{top}/kallithea-tune-{secrets.token_hex(8)}.txt"
        with _marker(os.path.join(directory, name)) as content:
            if content is None:
                yield Note(f"not tried: a file put into {directory}, which cannot be written to")
                return
            answer = client.get("/" + name)
            if (answer.status, answer.body) != (200, content):
                message = (
                    f"is not served from {directory}: a file put there was answered with "
                    f"{answer.status}"
                )
                yield Problem(f"/{top}/", "identity", message)


@contextlib.contextmanager
def _marker(path: str) -> Iterator[Optional[bytes]]:
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


def _traversal(client: Client, release: Manifest) -> Iterator[Problem]:
    """Request what is beside and above the exported entries; the manifest must never be served."""
    message = "serves a file that is not exported"
    paths = ["/" + NAME, "/.git/config", "//" + NAME]
    for entry in release.directories:
        paths += [f"/{entry}/{up}/{NAME}" for up in ("..", "%2e%2e", "..%2f", "%2e%2e%2f", "..%5c")]
        paths += [f"/{entry}../{NAME}", f"/{entry}%2e%2e/{NAME}"]
        paths += [f"/{entry}/../../../../../../../../etc/passwd", f"/{entry}/.git/config"]
    for path in paths:
        answer = client.get(path)
        # The beginning of the manifest, or of /etc/passwd.
        leaks = b'"format"' in answer.body[:200] or b"root:" in answer.body[:2000]
        if answer.status == 200 and leaks:
            yield Problem(path, "identity", message)
    for entry in release.directories:
        # What nginx serves with an alias whose location lacks the closing slash.
        for other, item in sorted(release.files.items())[:5]:
            answer = client.get(f"/{entry}../{quote(other)}")
            if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == item.file.sha256:
                yield Problem(f"/{entry}../{other}", "identity", message)
                break


def _listings(client: Client, release: Manifest) -> Iterator[Problem]:
    for entry in release.directories:
        answer = client.get(f"/{entry}/")
        if answer.status == 200 and re.search(rb"(?i)index of|<title>directory", answer.body):
            yield Problem(f"/{entry}/", "identity", "lists the directory")
