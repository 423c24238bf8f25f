"""The log-in plug-ins in their order, and the answers of the servers that they wait for."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from kallithea_tune.config.instance import as_bool
from kallithea_tune.config.wsgi_server import UNLIMITED, server_of
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.services.servers import (
    Protocol,
    Reply,
    Security,
    Server,
    replies_of,
)
from kallithea_tune.system import child

# Those that wait for nobody: one has the passwords itself, the other believes the web server.
LOCAL = ("internal", "container")
QUERY_SECONDS = 10.0
_NOT_SECRET = (
    "auth_plugins",
    *(f"auth_ldap_{name}" for name in ("enabled", "host", "port", "tls_kind")),
    *(f"auth_crowd_{name}" for name in ("enabled", "host", "port", "method")),
    "auth_pam_enabled",
)


@dataclass(frozen=True)
class PlugIn:
    """An active log-in plug-in that is not `LOCAL`, and its servers in the order of their use.

    Those of PAM and of plug-ins that are not Kallithea's are unknown.
    """

    name: str
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True)
class LogIns:
    """The plug-ins in the order in which a log-in passes them, and the replies of the servers of
    each.

    `at_once` is how many requests the server in the ini file serves at the same time, None where
    that is unknown or without a limit; `has_ldap` whether the library of the LDAP plug-in is
    installed.
    """

    plug_ins: tuple[PlugIn, ...] = ()
    replies: Mapping[str, tuple[Reply, ...]] = field(default_factory=dict)
    at_once: Optional[int] = None
    has_ldap: bool = True

    @property
    def examined(self) -> Examined:
        """Of how many plug-ins the servers were requested."""
        known = sum(bool(item.servers) for item in self.plug_ins)
        return Examined(known, len(self.plug_ins), "log-in plug-in")


@measurement(seconds=1.0, needs=("database",))
def log_ins(context: Context) -> LogIns:
    """Read the plug-ins from the database and connect to their servers, without credentials."""
    url = context.instance.database_url
    read_only_engine(url)
    plug_ins = plug_ins_of(child.call(read_settings, QUERY_SECONDS, url=url))
    replies = iter(replies_of([server for item in plug_ins for server in item.servers]))
    serving = server_of(context.instance)
    slots = (serving.processes or 0) * (serving.threads or 0)
    return LogIns(
        plug_ins,
        {item.name: tuple(next(replies) for _ in item.servers) for item in plug_ins},
        slots if 0 < slots < UNLIMITED else None,
        importlib.util.find_spec("ldap") is not None,
    )


def read_settings(url: str) -> Mapping[str, str]:
    """Return the settings of log-in plug-ins, without passwords, that the database at `url` has."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    names = ", ".join(f"'{name}'" for name in _NOT_SECRET)
    query = sqlalchemy.text(
        "SELECT app_settings_name, app_settings_value FROM settings "
        f"WHERE app_settings_name IN ({names})"
    )
    try:
        with read_only_engine(url).connect() as connection:
            return {name: str(value) for name, value in connection.execute(query)}
    except SQLAlchemyError as error:
        raise NotMeasured(f"log-in plug-ins are unknown: {failure_reason(error, url)}") from None


def plug_ins_of(settings: Mapping[str, str]) -> tuple[PlugIn, ...]:
    """Return the active plug-ins in the order of the setting ``auth_plugins``."""
    found = []
    for module in filter(None, map(str.strip, settings.get("auth_plugins", "").split(","))):
        # As Kallithea loads it (kallithea/lib/auth_modules/__init__.py, loadplugin).
        own = ".lib.auth_modules.auth_" in module
        name = module.rpartition("auth_")[2] if own else module
        active = not own or as_bool(settings.get(f"auth_{name}_enabled", ""))
        if name not in LOCAL and active:
            found.append(PlugIn(name, servers_of(name, settings)))
    return tuple(found)


def servers_of(name: str, settings: Mapping[str, str]) -> tuple[Server, ...]:
    """Return the servers that Kallithea's plug-in connects to, in their order."""
    host = settings.get(f"auth_{name}_host", "")
    port = settings.get(f"auth_{name}_port", "").strip()
    number = int(port) if port.isdigit() else 0
    if name == "crowd":
        secure = settings.get("auth_crowd_method") == "https"
        security = Security.at_once if secure else Security.none
        path = "/crowd/rest/usermanagement/latest/authentication"
        return (Server(Protocol.http, host.strip(), number or 8095, security, path),)
    if name != "ldap":
        return ()
    kind = settings.get("auth_ldap_tls_kind", "LDAPS")
    security = _LDAP_SECURITY.get(kind, Security.none)
    number = number or (636 if security is Security.at_once else 389)
    hosts: Sequence[str] = [item.strip() for item in host.split(",")]
    return tuple(Server(Protocol.ldap, item, number, security) for item in hosts)


_LDAP_SECURITY = {"LDAPS": Security.at_once, "START_TLS": Security.on_request}
