"""Connections to web servers."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return host and port of `url` as it has them, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def connection_to(url: str, seconds: float, verify: bool = True) -> http.client.HTTPConnection:
    """Return a connection to the server of `url` that waits `seconds`; it opens when it is used.

    Without `verify`, any certificate will do. Raises ValueError for what is not the URL of a web
    server.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not the URL of a web server")
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    context = None if verify else ssl._create_unverified_context()
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
