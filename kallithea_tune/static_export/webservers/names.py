"""What may be given for a site: one grammar for each, which is the same for all web servers.

Each function returns the text in the one spelling that templates write, and raises ConfigError for
everything else, with `where` it was given.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re

from kallithea_tune.errors import ConfigError
from kallithea_tune.text import has_control

# RFC 1123, section 2.1: letters, digits and hyphens between dots, 63 to a label and 253 in all. The
# last label is not all digits, which would be an IPv4 address, and no valid one.
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?!(?:.*\.)?[0-9]+\Z)"
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)
# RFC 3986, section 2.3: what needs no encoding and has no meaning. A leading dot would be a hidden
# file's, or `..`.
_PREFIX = re.compile(r"/?((?!\.)[A-Za-z0-9._~-]+(?:/(?!\.)[A-Za-z0-9._~-]+)*)/?")
_URL = re.compile(r"(https?)://([^/?#@:\[\]]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", re.I)
_PORTS = {"http": 80, "https": 443}
# What WSGI makes of a request header, and what of it can be a header again.
_VARIABLE = re.compile(r"HTTP(?:_[A-Za-z0-9]+)+")


def server_name(text: str, where: str = "--server-name") -> str:
    """Read a host name or an IPv4 address: what browsers send as the Host of one site."""
    name = _host(text)
    if not name:
        ours = _in_ascii(text)
        raise ConfigError(
            f"{where} '{text}' is not a host name; "
            + (
                f"give {ours}, as browsers send it"
                if ours
                else "give one, such as "
                "code.example.com, or an IPv4 address, without scheme and port"
            )
        )
    return name


def prefix(text: str, where: str = "--prefix") -> str:
    """Read a path in front of all URLs: ``/hosted/kallithea``, empty for none."""
    match = _PREFIX.fullmatch(text)
    if not match and text not in ("", "/"):
        raise ConfigError(
            f"{where} '{text}' is not a prefix for URLs; give a path such as /hosted/kallithea, of "
            "letters, digits, '-', '_', '.' and '~', none of its parts beginning with a dot"
        )
    return f"/{match[1]}" if match else ""


def backend(text: str, where: str = "--backend") -> tuple[str, str, int]:
    """Read ``http://127.0.0.1:5000``; return scheme, host and port, an IPv6 host in no brackets."""
    match = _URL.fullmatch(text)
    host = address(match[2].strip("[]")) if match else ""
    if not match or not host or (":" in host) != match[2].startswith("["):
        raise ConfigError(
            f"{where} {_shown(text)} is not where an application listens; give "
            "http://127.0.0.1:5000 or http://[::1]:5000, without path, query and user"
            + (" (a Unix socket cannot be used)" if text.startswith(("unix:", "/")) else "")
        )
    scheme = match[1].lower()
    if scheme == "https" and (":" in host or host.replace(".", "").isdigit()):
        # nginx, Apache and HAProxy compare only names with a certificate.
        raise ConfigError(
            f"{where} {_shown(text)} has an address; give the name in its certificate"
        )
    return scheme, host, port(match[3] or str(_PORTS[scheme]), f"{where} {_shown(text)}")


def address(text: str, where: str = "") -> str:
    """Read a host name, an IPv4 or an IPv6 address, this without brackets.

    Without `where`, the result is empty instead of an error.
    """
    with contextlib.suppress(ValueError):
        if ":" in text and "%" not in text:
            return str(ipaddress.IPv6Address(text))
    host = _host(text)
    if not host and where:
        raise ConfigError(f"{where} '{text}' is not a host; give a host name or an address")
    return host


def port(text: str, where: str) -> int:
    """Read a TCP port."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ConfigError(f"{where}: give a port from 1 to 65535")
    return int(text)


def header_name(variable: str, default: str, where: str = "") -> str:
    """Return the header behind a WSGI variable: ``HTTP_X_REAL_IP`` is ``X-Real-Ip``.

    It is `default` where the variable is not a header's.
    """
    if not variable.startswith("HTTP_"):
        return default
    if not _VARIABLE.fullmatch(variable):
        raise ConfigError(
            f"{where} '{variable}' is not the WSGI variable of a header; "
            "give one such as HTTP_X_FORWARDED_FOR"
        )
    return "-".join(word.capitalize() for word in variable[len("HTTP_") :].split("_"))


def _host(text: str) -> str:
    """Return a host name in lower case, or an IPv4 address; empty for anything else."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv4Address(text))
    name = text.lower()
    return name if text.isascii() and _HOST.fullmatch(name) else ""


def _in_ascii(text: str) -> str:
    """Return an internationalized host name as DNS and browsers write it; empty for no such."""
    with contextlib.suppress(UnicodeError):
        return "" if has_control(text) or text.isascii() else _host(text.encode("idna").decode())
    return ""


def _shown(url: str) -> str:
    """Return `url` without user and password."""
    return re.sub(r"(?<=//)[^/]*@", "***@", url)
