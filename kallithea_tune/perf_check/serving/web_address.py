"""Requests files from a web server, without following redirects."""

from __future__ import annotations

import http.client
import time
from typing import Mapping, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system.web import connection_to, host_of


def statuses(url: str, paths: Sequence[str], within: float) -> Mapping[str, int]:
    """Return the HTTP status of each of `paths` at the server of `url`; for a child process.

    Paths for which `within` seconds are too short are left out. The certificate is not verified:
    nothing secret is sent, and internal ones are often self-signed. Raises NotMeasured when the
    server does not answer.
    """
    end = time.monotonic() + within
    answered = {}
    try:
        for path in paths:
            left = end - time.monotonic()
            if left <= 0:
                break
            answered[path] = _status(url, path, left)
    except ValueError:
        raise NotMeasured("canonical_url is not the address of a web server") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotMeasured(f"{host_of(url)} does not answer: {error}") from None
    return answered


def _status(url: str, path: str, seconds: float) -> int:
    connection = connection_to(url, seconds, verify=False)
    try:
        connection.request("GET", path, headers={"User-Agent": "kallithea-tune"})
        return connection.getresponse().status
    finally:
        connection.close()
