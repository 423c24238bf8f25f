"""Asks a web server for files, as a browser would, without following it to another place."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Any, Sequence
from urllib.parse import urlsplit

from kallithea_tune.errors import NotMeasured


def ask(url: str, paths: Sequence[str], within: float) -> dict[str, Any]:
    """Return status and ETag of each path of `paths` at the server of `url`, of as many as `within`
    seconds allow.

    The certificate is not looked at: nothing secret is sent, and internal ones are often signed by
    nobody known. Raises NotMeasured when the server does not answer. For a child process.
    """
    parts, end, found = urlsplit(url), time.monotonic() + within, {}
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotMeasured("canonical_url is no address of a web server")
    try:
        for path in paths:
            left = end - time.monotonic()
            if left <= 0:
                break
            connection = (
                http.client.HTTPConnection(parts.hostname, parts.port, timeout=left)
                if parts.scheme == "http"
                else http.client.HTTPSConnection(
                    parts.hostname,
                    parts.port,
                    timeout=left,
                    context=ssl._create_unverified_context(),
                )
            )
            connection.request("GET", path, headers={"User-Agent": "kallithea-tune"})
            answer = connection.getresponse()
            found[path] = {"status": answer.status, "etag": answer.getheader("ETag", "")}
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise NotMeasured(
            "{} does not answer: {}".format(parts.netloc.rpartition("@")[2], error)
        ) from None
    return found
