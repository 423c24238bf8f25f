"""Configurations of web servers: one template for each, filled in from one description of a site.

To add a server, put a template beside this file and add a line to `SERVERS`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from typing import Callable, Mapping, Optional

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import LASTING, RELEASE_NAME
from kallithea_tune.static_export.webservers import quoting, syntax
from kallithea_tune.static_export.webservers.site import FORWARDING_HEADERS, HEALTH, Site
from kallithea_tune.text import has_control

# Where templates are looked up.
TEMPLATES = [os.path.dirname(os.path.abspath(__file__))]

# What the authorities signed that the machine trusts, on Debian and on Red Hat.
AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
# Of TLS 1.2: https://ssl-config.mozilla.org/guidelines/5.7.json, intermediate.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
)

CONSTANTS: Mapping[str, object] = {
    # What is current may change: a browser revalidates it, by a request that costs no content.
    "REVALIDATED": "public, max-age=0, must-revalidate",
    # A year, the longest that RFC 2616, section 14.21, allows; only for what is below LASTING.
    "IMMUTABLE": "public, max-age=31536000, immutable",
    "LASTING": LASTING,
    # A value of ?ver= that may be looked up below LASTING, as a regular expression: one directory.
    "VERSION": r"[0-9A-Za-z][0-9A-Za-z.+_-]*",
    "FORWARDING_HEADERS": FORWARDING_HEADERS,
    # Seconds; a clone that needs longer between two packets has died.
    "TIMEOUT": 3600,
    # hg sends every head in headers of 1 KB: 42 bytes each in a clone, 84 in a later pull (hg 5.8).
    # 256 KB is also waitress's default, for 6,000 and 3,000 heads (half of it before waitress 2.1).
    "HEADER_BYTES": 262144,
    "HEADER_LINES": 512,
    "LINE_BYTES": 65535,
    "HEALTH": HEALTH,
    "RELEASE": RELEASE_NAME,
    # What tells a Mercurial or Git client from a browser, as regular expressions: what hg and git
    # send, seen on the wire.
    "AGENT": r"^(git/|mercurial/proto-|JGit/)",
    "ACCEPT": r"application/mercurial-",
    "QUERY": r"(^|&)service=git-(upload|receive)-pack(&|$)",
    "PATH": r"/git-(upload|receive)-pack$",
    "CIPHERS": ":".join(CIPHERS),
    "AUTHORITIES": next(filter(os.path.exists, AUTHORITIES), AUTHORITIES[0]),
}
SCRIPT_SUFFIX = ".lua"  # of a second file, after the name of the first


@dataclass(frozen=True)
class Server:
    """A web server: its template, and what it can do.

    `codings` are the variants that it negotiates; `pools` is whether it balances several backends,
    with a separate pool for hg and git, `pools_in_site` whether it defines them inside a site, and
    `one_secure_name` whether all backends of a pool of https must have the same name;
    `names_backends` is whether it verifies the certificate of a backend for the backend's own name;
    `statics` is whether it serves files at all, `own_certificate` whether it gets its certificate
    itself, `key_beside` whether it finds the key by the certificate's name; `script` is the
    template of a second file that it needs, which may be empty; `quote` and `quote_script` write a
    text as one word of either, the filter ``quoted`` of templates; `syntax` is how it checks a
    configuration.
    """

    template: str
    quote: Callable[[str], str]
    codings: frozenset[str] = frozenset()
    pools: bool = True
    pools_in_site: bool = True
    one_secure_name: bool = False
    names_backends: bool = True
    statics: bool = True
    own_certificate: bool = False
    key_beside: bool = False
    script: str = ""
    quote_script: Callable[[str], str] = str
    syntax: Optional[syntax.Check] = None


ALL_CODINGS = frozenset({"gzip", "br", "zstd"})
SERVERS: dict[str, Server] = {
    "nginx": Server(
        "nginx.conf.j2",
        quoting.nginx,
        frozenset({"gzip", "br"}),
        pools_in_site=False,
        one_secure_name=True,
        syntax=syntax.NGINX,
    ),
    "apache": Server(
        "apache.conf.j2",
        quoting.apache,
        ALL_CODINGS,
        pools_in_site=False,
        names_backends=False,
        syntax=syntax.APACHE,
    ),
    "caddy": Server(
        "caddy.j2", quoting.caddy, ALL_CODINGS, own_certificate=True, syntax=syntax.CADDY
    ),
    "lighttpd": Server(
        "lighttpd.conf.j2",
        quoting.lighttpd,
        ALL_CODINGS,
        pools=False,
        script="lighttpd.lua.j2",
        quote_script=quoting.lua,
        syntax=syntax.LIGHTTPD,
    ),
    "haproxy": Server(
        "haproxy.cfg.j2",
        quoting.haproxy,
        statics=False,
        key_beside=True,
        syntax=syntax.HAPROXY,
    ),
}


def render(name: str, site: Site, snippet: bool) -> str:
    """Return the configuration of server `name`: complete, or what belongs inside a site.

    Raises ConfigError for what the server cannot do.
    """
    server = SERVERS[name]
    _refuse_controls(site)
    if not server.pools:
        _refuse_pools(name, site)
    if not server.names_backends:
        _refuse_backends(name, site)
    if server.one_secure_name:
        _refuse_unverified(name, site)
    if snippet and not server.pools_in_site and (len(site.backends) > 1 or site.vcs):
        raise ConfigError(
            "several backends are defined outside of the site; leave --snippet-only out"
        )
    return _filled(server.template, server.quote, site, snippet)


def _refuse_controls(value: object) -> None:
    """Raise ConfigError for a newline or another control character in any text of a site: what
    follows it would be a directive of its own.
    """
    if isinstance(value, str) and has_control(value):
        raise ConfigError(
            f"a web server's configuration cannot contain '{value}', which has a control "
            "character; choose another path, prefix or name"
        )
    if isinstance(value, (tuple, list)):
        for item in value:
            _refuse_controls(item)
    elif dataclasses.is_dataclass(value):
        _refuse_controls(list(vars(value).values()))


def _refuse_pools(name: str, site: Site) -> None:
    if any(backend.scheme == "https" for backend in site.backends):
        raise ConfigError(
            f"{name} connects to backends over http only; give http://, or use nginx, apache, "
            "caddy or haproxy"
        )
    if site.vcs or site.sticky:
        raise ConfigError(
            f"{name} has no pool for hg and git, and no sticky sessions; "
            "use nginx, apache, caddy or haproxy"
        )


def _refuse_backends(name: str, site: Site) -> None:
    for backend in (*site.backends, *site.vcs):
        if backend.scheme == "https" and backend.host != site.name:
            raise ConfigError(
                f"{name} passes the site's name on to {backend.url}, and accepts only a "
                f"certificate of that name: give https://{site.name}:{backend.port}, which must "
                "lead there, or http://"
            )


def _refuse_unverified(name: str, site: Site) -> None:
    for pool in (site.backends, site.vcs):
        hosts = {backend.host if backend.scheme == "https" else "" for backend in pool}
        if len(hosts) > 1:
            raise ConfigError(
                f"{name} verifies the certificates of all backends of a pool for one host name; "
                "give https:// with the same name for each"
            )


def render_script(name: str, site: Site, snippet: bool = False) -> Optional[str]:
    """Return the second file of server `name`, of which `site.script` is the path; None without."""
    server = SERVERS[name]
    return _filled(server.script, server.quote_script, site, snippet) if server.script else None


def _filled(template: str, quote: Callable[[str], str], site: Site, snippet: bool) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(quoting.FILTERS, quoted=quote)
    patterns = {
        "directories_pattern": "|".join(map(_escaped, site.directories)),
        "files_pattern": "|".join(map(_escaped, site.files)),
        "prefix_pattern": _escaped(site.prefix),
    }
    return environment.get_template(template).render(
        site=site, snippet=snippet, **patterns, **CONSTANTS
    )


def _escaped(text: str) -> str:
    return re.escape(text).replace(r"\-", "-").replace(r"\/", "/")
