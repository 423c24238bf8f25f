"""What can be chosen for an export, and which choices contradict one another."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Optional, Sequence

from kallithea_tune.db.url import given_url
from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import RecipeChanges
from kallithea_tune.static_export.webservers import SERVERS, certificate
from kallithea_tune.static_export.webservers.site import Backend, Site, Tls
from kallithea_tune.system import written_path

HTTP_PORT, TLS_PORT = 80, 443
NEEDS_OUTPUT = "{} needs a script beside its configuration; give a file with --output"


@dataclass(frozen=True)
class ServerOptions:
    """The options about a web server's configuration, each as its grammar spells it; `name` is
    ``--server``.
    """

    name: str = ""
    output: str = ""
    snippet_only: bool = False
    prefix: Optional[str] = None
    server_name: str = Site.name
    port: Optional[int] = None
    backends: Sequence[Backend] = ()
    vcs_backends: Sequence[Backend] = ()
    balance: str = "round-robin"
    tls: Optional[Tls] = None


@dataclass(frozen=True)
class Options:
    """What can be chosen; each field means what the command's option of the same name does."""

    dest: str
    recipe: RecipeChanges = field(default_factory=RecipeChanges)
    web_user: str = ""
    dry_run: bool = False
    check: bool = False
    server: ServerOptions = field(default_factory=ServerOptions)
    switch: bool = False
    verify: str = ""
    verify_login: str = ""


def validate(options: Options) -> None:
    """Raise ConfigError for whatever could otherwise only fail at the end of a run."""
    if options.check and (options.server.name or options.switch or options.verify):
        raise ConfigError("--check only compares; give it without --server, --switch and --verify")
    if options.dry_run and options.verify:
        raise ConfigError("--dry-run publishes nothing to --verify; give one of the two")
    _validate_server(options.server)
    if options.verify:
        from kallithea_tune.static_export.verify.client import Client

        Client(options.verify)
        login(options.verify_login)
    elif options.verify_login:
        raise ConfigError("--verify-login is for --verify URL; give both")


def tls_of(
    files: Optional[Sequence[str]], redirect_port: Optional[int], hsts: Optional[int]
) -> Optional[Tls]:
    """Return what ``--tls`` says, None without it. Raises ConfigError for files that cannot be it,
    and for options that need it.
    """
    if files is None:
        for option, value in (("--redirect-port", redirect_port), ("--hsts", hsts)):
            if value is not None:
                raise ConfigError(f"{option} is for a site with --tls; give both")
        return None
    if len(files) not in (0, 2):
        raise ConfigError("--tls takes two files, CERTIFICATE and KEY, or none")
    for path in files:
        written_path.refuse_control_characters(path, "--tls")
    cert, key = map(os.path.abspath, files) if files else ("", "")
    return Tls(cert, key, Tls.redirect_port if redirect_port is None else redirect_port, hsts or 0)


def _validate_server(server: ServerOptions) -> None:
    if not server.name and server != ServerOptions():
        raise ConfigError(
            "--output, --backend and the other options of a web server's configuration need one; "
            "choose it with --server"
        )
    if server.name and SERVERS[server.name].script and not server.output:
        raise ConfigError(NEEDS_OUTPUT.format(server.name))
    if server.tls is None:
        return
    if server.snippet_only:
        raise ConfigError(
            "--tls is for a complete site, and --snippet-only for what belongs inside one; "
            "give one of the two"
        )
    if (server.port or TLS_PORT) == server.tls.redirect_port:
        raise ConfigError(
            f"--port and --redirect-port are both {server.tls.redirect_port}, and one port "
            "cannot serve both; give another --redirect-port"
        )
    if not server.tls.automatic:
        certificate.require_pair(server.tls.certificate, server.tls.key)
        if SERVERS[server.name].key_beside:
            certificate.require_key_beside(server.tls.certificate, server.tls.key)
    elif not SERVERS[server.name].own_certificate:
        raise ConfigError(
            f"{server.name} does not obtain certificates itself; give --tls CERTIFICATE KEY"
        )


def login(argument: str) -> str:
    """Return ``user:password`` from the place that ``--verify-login`` says, empty without one.

    It is never an argument itself, which every process could see. Raises ConfigError.
    """
    if not argument:
        return ""
    if not argument.startswith(("env:", "file:")):
        raise ConfigError("--verify-login takes env:NAME or file:PATH, with user:password there")
    credentials = given_url(argument, "--verify-login")
    if ":" not in credentials:
        raise ConfigError(f"--verify-login: {argument} does not contain user:password")
    return credentials
