"""The web server's configuration for a release: made, checked by that server, and written."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Collection, Iterator, Optional, Sequence

from kallithea_tune.app.package import kallithea_version
from kallithea_tune.config.forwarding import TRANSLATES, lacking
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.wsgi_server import default_server, server_of
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export import generated_files
from kallithea_tune.static_export.generated_files import Generated, generated
from kallithea_tune.static_export.options import HTTP_PORT, NEEDS_OUTPUT, TLS_PORT, ServerOptions
from kallithea_tune.static_export.release import destination
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.static_export.step import Export
from kallithea_tune.static_export.webservers import (
    SCRIPT_SUFFIX,
    SERVERS,
    names,
    render,
    render_script,
)
from kallithea_tune.static_export.webservers.site import Backend, Site
from kallithea_tune.static_export.webservers.syntax import complaint
from kallithea_tune.system import interruption, written_path
from kallithea_tune.system.written_path import Place

NO_BROTLI = "brotli_static"
# To check a configuration, nginx binds to its ports; high ones take no privilege, and may be in
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
    server, section = instance.server, default_server(instance).section
    if server.get("unix_socket") or server.get("bind", "").startswith("unix:"):
        raise ConfigError(
            f"{instance.path}: {section} listens on a Unix socket, which cannot be used here; "
            "have it listen on a port of 127.0.0.1, or give another --backend"
        )
    host, port = server.get("host", "127.0.0.1"), server.get("port", "")
    if not port:
        raise ConfigError(
            f"{instance.path} does not say where Kallithea listens; give it with --backend"
        )
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    return Backend(
        names.address(local.get(host, host), f"{instance.path}: host in {section}"),
        names.port(port, f"{instance.path}: port in {section}"),
    )


def site_of(instance: Instance, root: str, options: ServerOptions) -> Site:
    """Describe the site, apart from what a release has. Raises ConfigError for what the ini file
    gives and no configuration can contain. Pure.
    """
    written, place = instance.prefix_as_written
    if options.prefix is None:
        prefix = names.prefix(written, f"{instance.path}: {place}")
    else:
        prefix = options.prefix

    def header(variable: str, default: str) -> str:
        where = f"{instance.path}: {variable} in [{instance.section}]"
        return names.header_name(instance.settings.get(variable, ""), default, where)

    has_script = SERVERS[options.name].script and options.output
    script = os.path.abspath(options.output) + SCRIPT_SUFFIX if has_script else ""
    return Site(
        root=os.path.abspath(root),
        directories=[],
        files=[],
        codings=[],
        backends=options.backends or [backend_of(instance)],
        vcs=options.vcs_backends,
        prefix=prefix,
        name=options.server_name,
        port=options.port or (TLS_PORT if options.tls else HTTP_PORT),
        tls=options.tls,
        sticky=options.balance == "sticky",
        script=script,
        scheme_header=header("url_scheme_variable", "X-Forwarded-Proto"),
        address_header=header("remote_addr_variable", "X-Forwarded-For"),
    )


def with_release(site: Site, release: Manifest) -> Site:
    """Return `site` with the entries of a release, and the codings of its variants. Pure."""
    return dataclasses.replace(
        site,
        directories=release.directories,
        files=sorted(path for path in release.files if "/" not in path),
        codings=release.recipe.codings,
    )


def configure(instance: Instance, site: Site, options: ServerOptions) -> Configuration:
    """Return the configuration for `site`, checked by the server itself.

    Of the site's codings, it uses those that the server negotiates. Raises Refused with the
    server's message when it rejects the configuration.
    """
    server, snippet, made = options.name, options.snippet_only, site.codings
    notes = list(_notes(instance, site))
    reason = f"{server} cannot negotiate"
    site = _with_codings(site, SERVERS[server].codings)
    message = _checked(server, site, snippet)
    if message and NO_BROTLI in message:
        reason = (
            "this nginx has no brotli module (Debian: libnginx-mod-http-brotli-static) and cannot "
            "negotiate"
        )
        site = _with_codings(site, ("gzip",))
        message = _checked(server, site, snippet)
    if message:
        raise Refused(f"{server} rejects the configuration written for it: {message}")
    if message is None:
        notes.append(f"{server} is not installed here, so it could not check its configuration")
    if SERVERS[server].statics:
        notes += _coding_notes(made, site.codings, reason)
    return Configuration(render(server, site, snippet), render_script(server, site, snippet), notes)


def _with_codings(site: Site, codings: Collection[str]) -> Site:
    return dataclasses.replace(site, codings=[name for name in site.codings if name in codings])


def _coding_notes(made: Sequence[str], used: Sequence[str], reason: str) -> Iterator[str]:
    """Yield what becomes of the variants in codings that were `made` and are not `used`."""
    unused = " and ".join(coding for coding in made if coding not in used)
    if unused:
        served = " and ".join(used) if used else "every file uncompressed"
        yield f"{reason} {unused}: it serves {served}, and those variants stay unused"


def _checked(server: str, site: Site, snippet: bool) -> Optional[str]:
    tls = site.tls and dataclasses.replace(site.tls, redirect_port=CHECK_PORT + 1)
    text = render(server, dataclasses.replace(site, port=CHECK_PORT, tls=tls), snippet)
    return complaint(SERVERS[server].syntax, text, snippet)


def _notes(instance: Instance, site: Site) -> Iterator[str]:
    yield from _trust_notes(instance)
    if not server_of(instance).chunks:
        yield (
            "git sends a push of more than 1 MB in chunks, and uWSGI speaking HTTP itself passes "
            "none of it to Kallithea: see WEB006 of perf-check for what to do"
        )
    if site.prefix != instance.prefix:
        yield (
            f"the ini file has the prefix '{instance.prefix}', not '{site.prefix}': "
            "set filter-with = proxy-prefix and its prefix"
        )
    if len(site.backends) + len(site.vcs) > 1:
        yield (
            "start these processes from copies of this ini file that differ only in their port, "
            "with one cache_dir and one session.secret: otherwise users are logged in to only one "
            "of them"
        )
        if instance.settings.get("instance_id", "*") != "*":
            yield (
                "set instance_id = *, so that the footer of a page shows which process generated it"
            )


def _trust_notes(instance: Instance) -> Iterator[str]:
    """Yield what is missing for the application to trust the proxy's address and scheme headers,
    and no client's.
    """
    settings = instance.settings
    for section, options in lacking(instance).items():
        if TRANSLATES in options:
            yield (
                f"set {TRANSLATES} = false in [{section}], which trusts the host and scheme that "
                "clients claim; --switch sets it, with what it needs"
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
                "set trusted_proxy = 127.0.0.1, trusted_proxy_headers = x-forwarded-for "
                "x-forwarded-proto and clear_untrusted_proxy_headers = true in the server's "
                "section, so that links keep https and the client's address is logged"
            )
        return
    if not settings.get("remote_addr_variable") and not is_older:
        yield (
            "set remote_addr_variable = HTTP_X_FORWARDED_FOR in the ini file, so that the client's "
            "address is logged"
        )
    if not settings.get("force_https"):
        yield (
            "if all access is by https, set force_https = true in the ini file, so that links use "
            "https"
        )


def places(export: Export) -> list[Place]:
    """Return where the configuration goes. Raises ConfigError and Refused as `examine`."""
    output = export.options.server.output
    if not output:
        return []
    others = {
        "the ini file": export.instance.path,
        "DEST": export.path,
        "the directory of releases": destination.releases_of(export.path),
        **{f"the overlay {path}": path for path in export.options.recipe.overlays or ()},
    }
    first = written_path.examine(output, generated_files.OUTPUT, others)
    if not SERVERS[export.options.server.name].script:
        return [first]
    if first.stream is not None:
        raise ConfigError(NEEDS_OUTPUT.format(export.options.server.name))
    script = written_path.examine(output + SCRIPT_SUFFIX, generated_files.OUTPUT, others)
    return [first, script]


def site(export: Export) -> Optional[Site]:
    """Return the site for ``--server`` without a release, for which a configuration can be made."""
    server = export.options.server
    if not server.name:
        return None
    made = site_of(export.instance, export.path, server)
    render(server.name, made, server.snippet_only)
    render_script(server.name, made, server.snippet_only)
    return made


def generate(
    export: Export, site: Site, release: Manifest, where: Sequence[Place]
) -> list[Generated]:
    """Return the web server's configuration, and its second file, for the places `where`.

    Without a place, the configuration is for standard output.
    """
    made = configure(export.instance, with_release(site, release), export.options.server)
    for note in made.notes:
        export.report.note(note)
    texts = zip([*where, None][:2], (made.text, made.script))
    return [generated(place, text) for place, text in texts if text is not None]


def write(export: Export, files: Sequence[Generated]) -> None:
    """Write the web server's configuration, or print it."""
    report = export.report
    interruption.check()
    for file in files:
        if file.place is None:
            report.output("configuration", "", file.text)
            continue
        path = file.place.path
        if not file.diff:
            report.say(f"{path} is up to date")
        elif export.options.dry_run:
            report.output("configuration", path, file.diff)
            report.say(f"{path} would change")
        else:
            kept = generated_files.replace(file.place, file.text)
            report.row("written", path, kept)
            report.say(f"{path} written" + (f"; the previous one is {kept}" if kept else ""))
