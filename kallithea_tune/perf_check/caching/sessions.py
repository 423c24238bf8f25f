"""Where Beaker keeps sessions, in this ini file and in those beside it."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, fields
from typing import Iterator, Mapping, Optional

from kallithea_tune.app import beaker_config
from kallithea_tune.app.factory import wrappers
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.errors import TuneError
from kallithea_tune.perf_check.caching.regions import Backend, backend_of
from kallithea_tune.perf_check.measurement import Context, Examined, measurement

# More ini files than this beside one's own are not instances of one Kallithea.
MOST_SIBLINGS = 50


@dataclass(frozen=True)
class SessionSettings:
    """What two instances must have in common for one to accept the other's sessions."""

    type: str
    data_dir: Optional[str]
    sa_url: Optional[str]
    url: Optional[str]
    key: Optional[str]
    secret: Optional[str]

    def differing(self, other: SessionSettings) -> list[str]:
        """Return the names of the options ``session.NAME`` that differ."""
        names = [field.name for field in fields(self)]
        differing = [name for name in names if getattr(self, name) != getattr(other, name)]
        return [name.replace("_", ".") if name == "sa_url" else name for name in differing]


@dataclass(frozen=True)
class Sibling:
    """Another ini file for the same database, and the options of its sessions that differ."""

    name: str
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Sessions:
    """The store of the sessions, and the ini files that serve the same users.

    `known` says whether Beaker has a store of that type. `processes` is None where the ini file
    does not say how many serve. `section` is that of the application.
    """

    type: str
    section: str
    backend: Backend
    processes: Optional[int]
    directory: Optional[str]
    siblings: tuple[Sibling, ...]

    @property
    def known(self) -> bool:
        """Whether Beaker has a store of this type."""
        return self.type == "cookie" or self.backend.accepted is not None

    @property
    def examined(self) -> Examined:
        """This ini file and those beside it for the same database."""
        count = 1 + len(self.siblings)
        return Examined(count, count, "ini file")


def session_settings(settings: Mapping[str, str]) -> SessionSettings:
    """Return the settings that decide where sessions are kept and who can read them."""
    directory = beaker_config.session_directory(settings)
    return SessionSettings(
        beaker_config.session_type(settings),
        os.path.realpath(directory) if directory else None,
        settings.get("session.sa.url"),
        settings.get("session.url"),
        settings.get("session.key"),
        settings.get("session.secret"),
    )


def siblings(instance: Instance) -> Iterator[tuple[str, Instance]]:
    """Yield the ini files beside this one that run Kallithea on the same database."""
    if not instance.database_url:
        return
    directory = glob.escape(os.path.dirname(instance.path))
    for path in sorted(glob.glob(os.path.join(directory, "*.ini")))[:MOST_SIBLINGS]:
        if path == instance.path:
            continue
        try:
            other = load(f"{path}#{instance.name}")
        except TuneError:
            continue
        if other.database_url == instance.database_url and wrappers(other.use) is not None:
            yield os.path.basename(path), other


@measurement()
def sessions(context: Context) -> Sessions:
    """Read the settings of the sessions here and in the ini files beside this one."""
    instance = context.instance
    own = session_settings(instance.settings)
    return Sessions(
        own.type,
        instance.section,
        Backend() if own.type == "cookie" else backend_of(own.type),
        server_of(instance).processes,
        own.data_dir,
        tuple(
            Sibling(name, tuple(own.differing(session_settings(other.settings))))
            for name, other in siblings(instance)
        ),
    )
