"""Which servers a load may be sent to: this machine's, and others after a confirmation."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from kallithea_tune.errors import ConfigError


def checked(url: str) -> str:
    """Return `url`, which ``--load`` was given. Raises ConfigError for what no load is sent to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("--load: the port in the URL is not a number") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError("--load: give the URL of a web server, as in http://127.0.0.1:5000")
    if parts.username or parts.password:
        raise ConfigError("--load: the load is that of anonymous visitors; give a URL without user")
    if parts.query or parts.fragment:
        raise ConfigError("--load: give the URL of the front page, without '?' and '#'")
    return url.rstrip("/")


def is_here(url: str) -> bool:
    """Whether all addresses of the host in `url` are of the loopback interface.

    Raises ConfigError where the host has no address.
    """
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigError(f"--load: the host {host} has no address") from None
    return all(ipaddress.ip_address(str(item[4][0]).split("%")[0]).is_loopback for item in found)
