"""How to connect to an engine, and what all of its parts do with their connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping, NamedTuple, Sequence

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPICursor


class Driver(NamedTuple):
    """A Python module that talks to the engine, and how URLs that use it begin."""

    module: str
    scheme: str


class Setting(NamedTuple):
    """A statement that runs on each new connection, and what would go wrong without it."""

    statement: str
    reason: str


@dataclass(frozen=True)
class ConnectionSettings:
    """How to connect for hours of copying.

    `extra` is the pip extra that installs a driver, `drivers` are the ones that work, the best
    first, `connect_args` go to the driver. The session of the source is set up by `session` and
    `source_session`, that of the target by `session` and `target_session`, whatever a database,
    a role, the server or the URL sets.
    """

    extra: str = ""
    drivers: tuple[Driver, ...] = ()
    connect_args: Mapping[str, object] = field(default_factory=dict)
    session: tuple[Setting, ...] = ()
    source_session: tuple[Setting, ...] = ()
    target_session: tuple[Setting, ...] = ()

    def engine_arguments(self, url: str, writable: bool) -> Mapping[str, object]:
        """Return keyword arguments for SQLAlchemy's ``create_engine``."""
        return {"connect_args": dict(self.connect_args)}

    def session_statements(self, writable: bool) -> Sequence[str]:
        """Return what sets up a new session of the source, or of the target if `writable`."""
        settings = self.session + (self.target_session if writable else self.source_session)
        return [setting.statement for setting in settings]


class Connected:
    """Uses a SQLAlchemy connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def cursor(self) -> DBAPICursor:
        """Return a DB-API cursor on the connection, in its transaction."""
        return self.connection.connection.cursor()

    def quoted(self, name: str) -> str:
        """Return an identifier as it is written in SQL, for a cursor without arguments."""
        quoted = str(self.connection.dialect.identifier_preparer.quote(name))
        # Some dialects double each % for statements with arguments.
        is_doubled = quoted.count("%") > name.count("%")
        return quoted.replace("%%", "%") if is_doubled else quoted

    def quoted_in_text(self, name: str) -> str:
        """Return an identifier for SQLAlchemy's ``text``, where a colon begins a parameter."""
        return self.quoted(name).replace(":", r"\:")
