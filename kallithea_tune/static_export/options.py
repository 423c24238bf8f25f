"""What can be chosen for an export, and which choices contradict one another."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Optional, Sequence

from kallithea_tune.db.url import given_url
from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import RecipeChanges
from kallithea_tune.static_export.verify.client import Client
from kallithea_tune.static_export.webservers.site import Backend, Tls


@dataclass(frozen=True)
class ServerOptions:
    """The options about a web server's configuration; `name` is ``--server``."""

    name: str = ""
    output: str = ""
    snippet_only: bool = False
    prefix: Optional[str] = None
    server_name: str = "kallithea.example.com"
    port: Optional[int] = None
    backends: Sequence[str] = ()
    vcs_backends: Sequence[str] = ()
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
        Client(options.verify)
        login(options.verify_login)
    elif options.verify_login:
        raise ConfigError("--verify-login is for --verify URL; give both")


def tls_of(files: Sequence[str], redirect_port: int, hsts: int) -> Tls:
    """Return what ``--tls`` says. Raises ConfigError for a single file."""
    if len(files) not in (0, 2):
        raise ConfigError("--tls takes two files, CERTIFICATE and KEY, or none")
    certificate, key = (os.path.abspath(path) for path in files) if files else ("", "")
    return Tls(certificate, key, redirect_port, hsts)


def _validate_server(server: ServerOptions) -> None:
    if not server.name and (server.output or server.backends or server.vcs_backends):
        raise ConfigError(
            "--output and --backend are for a web server's configuration; choose it with --server"
        )
    for url in server.backends:
        Backend.from_url(url)
    for url in server.vcs_backends:
        Backend.from_url(url, "--vcs-backend")


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
