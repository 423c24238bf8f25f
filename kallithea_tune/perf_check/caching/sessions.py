"""Where Beaker keeps sessions, in this ini file and in those beside it."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, fields
from typing import Mapping, Optional

from kallithea_tune.app import beaker_config
from kallithea_tune.app.factory import wrappers
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import TuneError
from kallithea_tune.perf_check.caching.regions import Backend, backend_of
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import files

# More ini files than this beside one's own are not instances of one Kallithea, and larger ones take
# seconds to parse; Kallithea's template has 25 kB.
MOST_SIBLINGS, MOST_BYTES, SEARCHED_BYTES = 50, 500_000, 20_000_000
# What an ini file has that sets Kallithea's database, or has another one set it.
_DATABASE = re.compile(r"^[ \t]*(?:sqlalchemy\.url|use[ \t]*[=:][ \t]*config:)", re.M)


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

    `known` says whether Beaker has a store of that type. `section` is that of the application.
    `unread` ini files beside this one were too many or too large.
    """

    type: str
    section: str
    backend: Backend
    directory: Optional[str]
    siblings: tuple[Sibling, ...]
    unread: int = 0

    @property
    def known(self) -> bool:
        """Whether Beaker has a store of this type."""
        return self.type == "cookie" or self.backend.accepted is not None

    @property
    def examined(self) -> Examined:
        """This ini file and those beside it for the same database."""
        count = 1 + len(self.siblings)
        return Examined(count, count + self.unread, "ini file")


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


def siblings(instance: Instance) -> tuple[dict[str, Instance], int]:
    """Return the ini files beside this one that run Kallithea on the same database, and how many
    were not read.
    """
    directory = glob.escape(os.path.dirname(instance.path))
    paths = set(glob.glob(os.path.join(directory, "*.ini"))) - {instance.path}
    if not instance.database_url:
        return {}, 0
    found: dict[str, Instance] = {}
    candidates = [path for path in sorted(paths) if os.path.isfile(path) and _sets_database(path)]
    readable = [path for path in candidates if os.path.getsize(path) <= MOST_BYTES][:MOST_SIBLINGS]
    for path in readable:
        try:
            other = load(f"{path}#{instance.name}")
        except TuneError:
            continue
        if other.database_url == instance.database_url and wrappers(other.use) is not None:
            found[os.path.basename(path)] = other
    return found, len(candidates) - len(readable)


def _sets_database(path: str) -> bool:
    """Whether the ini file sets a database or leaves that to another file."""
    try:
        content = files.text(*os.path.split(path), SEARCHED_BYTES)
    except (OSError, files.NotAFile):
        # A link, perhaps, which PasteDeploy follows.
        return True
    return len(content) == SEARCHED_BYTES or bool(_DATABASE.search(content))


@measurement()
def sessions(context: Context) -> Sessions:
    """Read the settings of the sessions here and in the ini files beside this one."""
    instance = context.instance
    own = session_settings(instance.settings)
    others, unread = siblings(instance)
    return Sessions(
        own.type,
        instance.section,
        Backend() if own.type == "cookie" else backend_of(own.type),
        own.data_dir,
        tuple(
            Sibling(name, tuple(own.differing(session_settings(other.settings))))
            for name, other in others.items()
        ),
        unread,
    )
