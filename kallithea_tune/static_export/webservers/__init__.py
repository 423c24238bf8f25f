"""Configuration for web servers: one template for each, filled in from one description of the site.

A server is added by a template beside this file and a line in `SERVERS`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence
from urllib.parse import urlsplit

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.manifest import OWN_NAME

SHORT_LIFE = 3600  # seconds; what the application itself says of its static files
LONG_LIFE = (
    31536000  # seconds, a year: the longest that RFC 2616 section 14.21 wanted anyone to say
)
TIMEOUT = 3600  # seconds; a clone that needs longer between two packets has died
# hg names every head of the other side when it pulls, in headers of 1 KB each: 42 bytes a head,
# seen with hg 5.8.
HEADER_BYTES = 262144  # what waitress takes by default (max_request_header_size): about 6,000 heads
HEADER_LINES = 512
LINE_BYTES = 65535
# Answers without a session, which a health check would otherwise make anew each time.
HEALTH = "/_admin/api"

# What tells a Mercurial or Git client from a browser, as regular expressions: what hg and git send,
# seen on the wire.
VCS_AGENT = r"^(git/|mercurial/proto-|JGit/)"
VCS_ACCEPT = r"application/mercurial-"
VCS_QUERY = r"(^|&)service=git-(upload|receive)-pack(&|$)"
VCS_PATH = r"/git-(upload|receive)-pack$"


# Where templates are looked for.
TEMPLATES = [os.path.dirname(os.path.abspath(__file__))]


@dataclass(frozen=True)
class Backend:
    """Where the application listens."""

    host: str
    port: int
    scheme: str = "http"

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return "%s:%d" % (f"[{self.host}]" if ":" in self.host else self.host, self.port)

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"{self.scheme}://{self.address}"


@dataclass(frozen=True)
class Site:
    """What every template is filled in from.

    `root` is the published directory, `directories` and `files` its entries; `codings` those with
    variants on disk; `prefix` the path in front of all, empty for none. `vcs` has its own pool
    where hg and git are to be apart. Only what is asked for with ``?ver=`` and this `version` may
    be kept for long: between an upgrade and the next export, pages ask for the new version of a
    file and get the old one. Without a version, any ``?ver=`` will do.
    """

    root: str
    directories: Sequence[str]
    files: Sequence[str]
    codings: Sequence[str]
    backends: Sequence[Backend]
    vcs: Sequence[Backend] = ()
    prefix: str = ""
    name: str = "kallithea.example.com"
    port: int = 80
    sticky: bool = False
    scheme_header: str = "X-Forwarded-Proto"
    address_header: str = "X-Forwarded-For"
    version: str = ""
    script: str = ""


@dataclass(frozen=True)
class Server:
    """A web server: its template, and what it can do.

    `codings` are the variants that it negotiates; `pools` whether it balances several backends and
    knows a pool for hg and git; `statics` whether it serves files at all; `script` the template of
    a second file that it needs.
    """

    template: str
    codings: frozenset[str]
    pools: bool = True
    statics: bool = True
    script: str = ""


SERVERS: dict[str, Server] = {
    "nginx": Server("nginx.conf.j2", frozenset({"gzip", "br"})),
    "apache": Server("apache.conf.j2", frozenset({"gzip", "br", "zstd"})),
    "caddy": Server("caddy.j2", frozenset({"gzip", "br", "zstd"})),
    "lighttpd": Server(
        "lighttpd.conf.j2", frozenset({"gzip", "br", "zstd"}), pools=False, script="lighttpd.lua.j2"
    ),
    "haproxy": Server("haproxy.cfg.j2", frozenset(), statics=False),
}


def backend(text: str, option: str = "--backend") -> Backend:
    """Read ``http://127.0.0.1:5000``. Raises ConfigError for what is no such URL."""
    try:
        parts = urlsplit(text)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError
    except (KeyError, ValueError):
        raise ConfigError(
            f"{option} {text} is not where an application listens; it reads http://127.0.0.1:5000"
        ) from None
    return Backend(parts.hostname, port, parts.scheme)


def header_name(variable: str, default: str) -> str:
    """Return the header that a WSGI variable comes from: ``HTTP_X_FORWARDED_FOR`` is
    ``X-Forwarded-For``.
    """
    if not variable.startswith("HTTP_"):
        return default
    return "-".join(word.capitalize() for word in variable[len("HTTP_") :].split("_"))


def render(name: str, site: Site, snippet: bool) -> str:
    """Write the configuration of server `name`: complete, or only what belongs inside an existing
    site.

    Raises ConfigError for what the server cannot do.
    """
    server = SERVERS[name]
    if not server.pools and (site.vcs or site.sticky):
        raise ConfigError(
            f"{name} balances no pool for hg and git; use nginx, apache, caddy or haproxy"
        )
    _check_headers(name, site)
    if snippet and (len(site.backends) > 1 or site.vcs) and name in ("nginx", "apache"):
        raise ConfigError(
            "several backends need definitions outside of the site; leave --snippet-only out"
        )
    return _fill(server.template, site, snippet)


def _check_headers(name: str, site: Site) -> None:
    usual = ("X-Forwarded-For", "X-Forwarded-Proto")
    if SERVERS[name].pools or (site.address_header, site.scheme_header) == usual:
        return
    raise ConfigError(
        f"{name} says who asks, and how, in X-Forwarded-For and X-Forwarded-Proto only; let remote_addr_variable be "
        "HTTP_X_FORWARDED_FOR in the ini file"
    )


def render_script(name: str, site: Site) -> Optional[str]:
    """Write the second file of server `name`, for `site.script`; None where it has none."""
    server = SERVERS[name]
    return _fill(server.script, site, False) if site.script else None


def _fill(template: str, site: Site, snippet: bool) -> str:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    constants: Mapping[str, object] = {
        "SHORT_LIFE": SHORT_LIFE,
        "LONG_LIFE": LONG_LIFE,
        "TIMEOUT": TIMEOUT,
        "HEADER_BYTES": HEADER_BYTES,
        "HEADER_LINES": HEADER_LINES,
        "LINE_BYTES": LINE_BYTES,
        "HEALTH": HEALTH,
        "RELEASE": OWN_NAME,
        "AGENT": VCS_AGENT,
        "ACCEPT": VCS_ACCEPT,
        "QUERY": VCS_QUERY,
        "PATH": VCS_PATH,
    }
    patterns = {
        "directories_pattern": "|".join(map(_escaped, site.directories)),
        "files_pattern": "|".join(map(_escaped, site.files)),
        "prefix_pattern": _escaped(site.prefix),
        "versioned": "(^|&)ver=" + (_escaped(site.version) + "(&|$)" if site.version else ""),
    }
    return environment.get_template(template).render(
        site=site, snippet=snippet, **patterns, **constants
    )


def _escaped(text: str) -> str:
    import re

    return re.escape(text).replace(r"\-", "-").replace(r"\/", "/")
