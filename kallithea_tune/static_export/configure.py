"""From a published release and what the ini file says to the configuration of a web server, checked
by that server.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.manifest import Manifest
from kallithea_tune.static_export.webservers import (
    SERVERS,
    Backend,
    Site,
    header_name,
    render,
    render_script,
)
from kallithea_tune.static_export.webservers.syntax import complaint

NO_BROTLI = "brotli_static"


@dataclass(frozen=True)
class Configuration:
    """A server's configuration, its second file if it needs one, and what the admin should know."""

    text: str
    script: Optional[str]
    notes: Sequence[str]


def backend_of(instance: Instance) -> Backend:
    """Return where the server section of the ini file listens. Raises ConfigError when it does not
    say.
    """
    host, port = instance.server.get("host", "127.0.0.1"), instance.server.get("port", "")
    if not port.isdigit():
        raise ConfigError(
            f"{instance.path} does not say where Kallithea listens; name it with --backend"
        )
    return Backend(
        "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host, int(port)
    )


def site_of(
    instance: Instance,
    root: str,
    release: Manifest,
    codings: Sequence[str],
    server: str,
    backends: Sequence[Backend],
    vcs: Sequence[Backend],
    prefix: Optional[str],
    sticky: bool,
    name: str,
    port: int,
) -> Site:
    """Describe the site: the release's entries, the ini file's prefix and header names. Pure."""
    settings = instance.settings
    return Site(
        root=os.path.abspath(root),
        directories=sorted({path.split("/")[0] for path in release.files if "/" in path}),
        files=sorted(path for path in release.files if "/" not in path),
        codings=[coding for coding in codings if coding in SERVERS[server].codings],
        backends=backends or [backend_of(instance)],
        vcs=vcs,
        prefix=instance.prefix
        if prefix is None
        else "/" + prefix.strip("/")
        if prefix.strip("/")
        else "",
        name=name,
        port=port,
        sticky=sticky,
        version=release.version,
        scheme_header=header_name(settings.get("url_scheme_variable", ""), "X-Forwarded-Proto"),
        address_header=header_name(settings.get("remote_addr_variable", ""), "X-Forwarded-For"),
    )


def configure(
    instance: Instance, site: Site, server: str, snippet: bool, output: str
) -> Configuration:
    """Write the configuration and have the server check it. Raises Refused with the server's words
    when it objects.
    """
    notes = list(_notes(instance, site))
    if SERVERS[server].script:
        if output:
            site = dataclasses.replace(site, script=os.path.abspath(output) + ".lua")
        else:
            notes.append(
                f"without --output, {server} serves no compressed variants and lets nothing be kept for long: "
                "that takes a script beside its configuration"
            )
            site = dataclasses.replace(site, codings=[])
    said = complaint(server, render(server, _on_free_port(site), snippet), snippet)
    if said and NO_BROTLI in said:
        notes.append(
            "this nginx has no brotli module (Debian: libnginx-mod-http-brotli-static): gzip only"
        )
        site = dataclasses.replace(
            site, codings=[coding for coding in site.codings if coding != "br"]
        )
        said = complaint(server, render(server, _on_free_port(site), snippet), snippet)
    if said:
        raise Refused(f"{server} rejects the configuration written for it: {said}")
    if said is None:
        notes.append(f"{server} is not installed here, so it could not check its configuration")
    return Configuration(render(server, site, snippet), render_script(server, site), notes)


def _on_free_port(site: Site) -> Site:
    # To check a configuration, nginx binds to its port; a high one takes no privilege, and may be
    # in use.
    return dataclasses.replace(site, port=61080)


def _notes(instance: Instance, site: Site) -> Iterator[str]:
    yield from _trust(instance)
    if not server_of(instance).chunks:
        yield (
            "git sends a push of more than 1 MB in chunks, of which uWSGI that speaks HTTP itself gives Kallithea "
            "nothing: see WEB006 of perf-check for the ways out"
        )
    if site.prefix != instance.prefix:
        yield f"the ini file has the prefix '{instance.prefix}', not '{site.prefix}': set filter-with = proxy-prefix and its prefix"
    if len(site.backends) + len(site.vcs) > 1:
        yield (
            "start these processes from copies of this ini file that differ in their port: one cache_dir and one "
            "session.secret, or a person is logged in on one of them only"
        )
        if instance.settings.get("instance_id", "*") != "*":
            yield "set instance_id = *, so that each of these processes names itself in the pages' footer"


def _trust(instance: Instance) -> Iterator[str]:
    """Say what is missing for the application to believe the proxy who asks, and by which
    scheme.
    """
    settings = instance.settings
    scheme = settings.get("url_scheme_variable", "")
    if scheme and "kallithea" in instance.use:
        # Seen with 0.7.0: config/application.py asks whether the variable's name is true or false.
        yield f"Kallithea 0.7.0 does not start with url_scheme_variable = {scheme}; take it out of the ini file"
    if server_of(instance).kind == "waitress":
        if not instance.server.get("trusted_proxy"):
            yield (
                "set trusted_proxy = 127.0.0.1 and trusted_proxy_headers = x-forwarded-for x-forwarded-proto in "
                "the server's section, so that links keep https and the client's address is logged"
            )
        return
    if not settings.get("remote_addr_variable"):
        yield "set remote_addr_variable = HTTP_X_FORWARDED_FOR in the ini file, so that the client's address is logged"
    if not settings.get("force_https"):
        yield "set force_https = true in the ini file when all come by https, so that links keep it"
