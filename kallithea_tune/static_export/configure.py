"""The web server's configuration for a published release, checked by that server."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

from kallithea_tune.app.package import kallithea_version
from kallithea_tune.config.forwarding import TRANSLATES, lacking
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.options import ServerOptions
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.static_export.webservers import SCRIPT_SUFFIX, SERVERS, render, render_script
from kallithea_tune.static_export.webservers.site import Backend, Site, header_name
from kallithea_tune.static_export.webservers.syntax import complaint

NO_BROTLI = "brotli_static"
# To check a configuration, nginx binds to its port; a high one takes no privilege, and may be in
# use.
CHECK_PORT = 61080


@dataclass(frozen=True)
class Configuration:
    """A server's configuration, its second file if it needs one, and notes for the admin."""

    text: str
    script: Optional[str]
    notes: Sequence[str]


def backend_of(instance: Instance) -> Backend:
    """Return where the server section of the ini file listens. Raises ConfigError if it does not
    say.
    """
    host, port = instance.server.get("host", "127.0.0.1"), instance.server.get("port", "")
    if not port.isdigit():
        raise ConfigError(
            f"{instance.path} does not say where Kallithea listens; give it with --backend"
        )
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    return Backend(local.get(host, host), int(port))


def site_of(instance: Instance, root: str, release: Manifest, options: ServerOptions) -> Site:
    """Describe the site: the release's entries, the ini file's prefix and header names. Pure."""
    settings = instance.settings
    codings = SERVERS[options.name].codings
    backends = [Backend.from_url(url) for url in options.backends]
    prefix = (options.prefix or "").strip("/")
    return Site(
        root=os.path.abspath(root),
        directories=sorted({path.split("/")[0] for path in release.files if "/" in path}),
        files=sorted(path for path in release.files if "/" not in path),
        codings=[coding for coding in release.recipe.codings if coding in codings],
        backends=backends or [backend_of(instance)],
        vcs=[Backend.from_url(url, "--vcs-backend") for url in options.vcs_backends],
        prefix=instance.prefix if options.prefix is None else prefix and f"/{prefix}",
        name=options.server_name,
        port=options.port or (443 if options.tls else 80),
        tls=options.tls,
        sticky=options.balance == "sticky",
        version=release.version,
        scheme_header=header_name(settings.get("url_scheme_variable", ""), "X-Forwarded-Proto"),
        address_header=header_name(settings.get("remote_addr_variable", ""), "X-Forwarded-For"),
    )


def configure(instance: Instance, site: Site, options: ServerOptions) -> Configuration:
    """Return the configuration for `site`, checked by the server itself.

    Raises Refused with the server's message when it rejects it.
    """
    server, snippet = options.name, options.snippet_only
    notes = list(_notes(instance, site))
    if SERVERS[server].script:
        script = os.path.abspath(options.output) + SCRIPT_SUFFIX
        site = dataclasses.replace(site, script=script)
    message = _checked(server, site, snippet)
    if message and NO_BROTLI in message:
        notes.append(
            "this nginx has no brotli module (Debian: libnginx-mod-http-brotli-static); only gzip "
            "variants are used"
        )
        codings = [coding for coding in site.codings if coding != "br"]
        site = dataclasses.replace(site, codings=codings)
        message = _checked(server, site, snippet)
    if message:
        raise Refused(f"{server} rejects the configuration written for it: {message}")
    if message is None:
        notes.append(f"{server} is not installed here, so it could not check its configuration")
    return Configuration(render(server, site, snippet), render_script(server, site, snippet), notes)


def _checked(server: str, site: Site, snippet: bool) -> Optional[str]:
    text = render(server, dataclasses.replace(site, port=CHECK_PORT), snippet)
    return complaint(SERVERS[server].syntax, text, snippet)


def _notes(instance: Instance, site: Site) -> Iterator[str]:
    yield from _trust_notes(instance)
    if not server_of(instance).chunks:
        yield (
            "git sends a push of more than 1 MB in chunks, and uWSGI speaking HTTP itself gives "
            "Kallithea nothing of it: see WEB006 of perf-check for what to do"
        )
    if site.prefix != instance.prefix:
        yield (
            f"the ini file has the prefix '{instance.prefix}', not '{site.prefix}': "
            "set filter-with = proxy-prefix and its prefix"
        )
    if len(site.backends) + len(site.vcs) > 1:
        yield (
            "start these processes from copies of this ini file that differ in their port only, "
            "with one cache_dir and one session.secret: otherwise users are logged in to one of "
            "them only"
        )
        if instance.settings.get("instance_id", "*") != "*":
            yield "set instance_id = *, so that pages show in the footer which process made them"


def _trust_notes(instance: Instance) -> Iterator[str]:
    """Yield what is missing for the application to trust the proxy's address and scheme headers,
    and no client's.
    """
    settings = instance.settings
    for section, options in lacking(instance).items():
        if TRANSLATES in options:
            yield (
                f"set {TRANSLATES} = false in [{section}], which believes what clients claim of "
                "host and scheme; --switch sets it, with what it needs"
            )
    scheme = settings.get("url_scheme_variable", "")
    # 0.6 reads the usual headers without being asked.
    is_older = kallithea_version().startswith("0.6.")
    if scheme and not is_older:
        # Seen with 0.7.0: config/application.py reads the variable's name as a boolean.
        yield (
            f"Kallithea 0.7.0 does not start with url_scheme_variable = {scheme}; "
            "remove it from the ini file"
        )
    if server_of(instance).kind == "waitress":
        if not instance.server.get("trusted_proxy"):
            yield (
                "set trusted_proxy = 127.0.0.1 and trusted_proxy_headers = x-forwarded-for "
                "x-forwarded-proto in the server's section, so that links keep https and the "
                "client's address is logged"
            )
        return
    if not settings.get("remote_addr_variable") and not is_older:
        yield (
            "set remote_addr_variable = HTTP_X_FORWARDED_FOR in the ini file, so that the client's "
            "address is logged"
        )
    if not settings.get("force_https"):
        yield "if all access is by https, set force_https = true in the ini file for the links"
