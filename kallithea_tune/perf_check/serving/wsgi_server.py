"""The settings that decide how the application is served."""

from __future__ import annotations

from dataclasses import dataclass

from kallithea_tune.config.instance import as_bool
from kallithea_tune.config.wsgi_server import Server, server_of
from kallithea_tune.perf_check.measurement import Context, Examined, measurement


@dataclass(frozen=True)
class ServerSettings:
    """The server of the ini file, and the application's own options on being served, which are in
    `section`.
    """

    server: Server
    debug: bool
    instance_id: str
    section: str

    @property
    def examined(self) -> Examined:
        """The ini file."""
        return Examined(1, 1, "ini file")


@measurement()
def server_settings(context: Context) -> ServerSettings:
    """Read the server section and the application's section, with the defaults of both."""
    settings = context.instance.settings
    return ServerSettings(
        server=server_of(context.instance),
        debug=as_bool(settings.get("debug", "false")),
        instance_id=settings.get("instance_id", "").strip() or "*",
        section=context.instance.section,
    )
