"""Requests files from a web server, without following redirects."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from kallithea_tune.errors import NotMeasured


def statuses(url: str, paths: Sequence[str], within: float) -> Mapping[str, int]:
    """Return the HTTP status of each of `paths` at the server of `url`; for a child process.

    Paths for which `within` seconds are too short are left out. The certificate is not verified:
    nothing secret is sent, and internal ones are often self-signed. Raises NotMeasured when the
    server does not answer.
    """
    parts, end = urlsplit(url), time.monotonic() + within
    answered = {}
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotMeasured("canonical_url is not the address of a web server")
    try:
        for path in paths:
            left = end - time.monotonic()
            if left <= 0:
                break
            answered[path] = _status(parts, path, left)
    except (OSError, http.client.HTTPException) as error:
        host = parts.netloc.rpartition("@")[2]
        raise NotMeasured(f"{host} does not answer: {error}") from None
    return answered


def _status(parts: SplitResult, path: str, seconds: float) -> int:
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "",
            parts.port,
            timeout=seconds,
            context=ssl._create_unverified_context(),
        )
    try:
        connection.request("GET", path, headers={"User-Agent": "kallithea-tune"})
        return connection.getresponse().status
    finally:
        connection.close()
