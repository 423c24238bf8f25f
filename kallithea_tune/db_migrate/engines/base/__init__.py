"""An engine as SQLAlchemy alone knows it; other packages override what theirs does better."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, ClassVar, Optional

from kallithea_tune.db.interruptible import Canceller
from kallithea_tune.db_migrate.engines.base.catalog import Catalog
from kallithea_tune.db_migrate.engines.base.column_limits import ColumnLimits
from kallithea_tune.db_migrate.engines.base.connection import Connected, ConnectionSettings, Setting
from kallithea_tune.db_migrate.engines.base.definitions import Definitions
from kallithea_tune.db_migrate.engines.base.fingerprint_sql import FingerprintSql
from kallithea_tune.db_migrate.engines.base.identity import Identity
from kallithea_tune.db_migrate.engines.base.reading import Reader
from kallithea_tune.db_migrate.engines.base.violation_sql import ViolationSql
from kallithea_tune.db_migrate.engines.base.writing import Writer

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = [
    "Catalog",
    "ColumnLimits",
    "Connected",
    "ConnectionSettings",
    "Definitions",
    "Engine",
    "FingerprintSql",
    "Identity",
    "Reader",
    "Setting",
    "ViolationSql",
    "Writer",
    "engine_class",
    "engine_for",
]

ENTRY_POINT_GROUP = "kallithea_tune.dialects"
PACKAGE = "kallithea_tune.db_migrate.engines"


class Engine(Connected):
    """One end of a migration: a connection, with everything that is known about its engine."""

    __dialect__: ClassVar[str] = ""
    """SQLAlchemy's name of the engine."""

    known: ClassVar[dict[str, type[Engine]]] = {}

    settings: ClassVar[ConnectionSettings] = ConnectionSettings()
    catalog_class: ClassVar[type[Catalog]] = Catalog
    identity_class: ClassVar[type[Identity]] = Identity
    reader_class: ClassVar[type[Reader]] = Reader
    writer_class: ClassVar[type[Writer]] = Writer
    definitions_class: ClassVar[type[Definitions]] = Definitions
    column_limits_class: ClassVar[type[ColumnLimits]] = ColumnLimits
    violation_sql_class: ClassVar[type[ViolationSql]] = ViolationSql
    fingerprint_sql_class: ClassVar[Optional[type[FingerprintSql]]] = None
    """None where rows must be fetched to be fingerprinted."""

    def __init_subclass__(cls) -> None:
        """Register the engine under its dialect name."""
        Engine.known[cls.__dialect__] = cls

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.cancel = Canceller(connection)
        self.catalog = self.catalog_class(connection)
        self.reader = self.reader_class(connection)
        self.writer = self.writer_class(connection)
        self.definitions = self.definitions_class(connection)

    def lock_holders(self) -> str:
        """Return which sessions have locked a table for themselves; empty where that is unknown.

        On a connection of its own, as the other one may be in the middle of something.
        """
        return ""

    def column_limits(self) -> ColumnLimits:
        """Return what columns can store, as the server is configured now."""
        limits = self.column_limits_class(self.connection)
        limits.read_configuration()
        return limits

    def violation_sql(self) -> ViolationSql:
        """Return the SQL that finds violations, with the session prepared for it."""
        sql = self.violation_sql_class(self.connection)
        sql.prepare()
        return sql

    def fingerprint_sql(self) -> Optional[FingerprintSql]:
        """Return the SQL of fingerprints, with the session prepared for it; None without any."""
        if self.fingerprint_sql_class is None:
            return None
        sql = self.fingerprint_sql_class(self.connection)
        return sql if sql.prepare() else None


def engine_for(connection: Connection) -> Engine:
    """Return the engine of a SQLAlchemy connection."""
    return engine_class(connection.dialect.name)(connection)


def engine_class(dialect: str) -> type[Engine]:
    """Return the class of an engine by its dialect name; `Engine` itself for unknown ones."""
    if dialect not in Engine.known and dialect.isidentifier():
        _import(dialect)
    return Engine.known.get(dialect, Engine)


def _import(dialect: str) -> None:
    module = f"{PACKAGE}.{dialect}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        _load_entry_points()


def _load_entry_points() -> None:
    from importlib.metadata import entry_points

    if sys.version_info >= (3, 10):
        points = entry_points(group=ENTRY_POINT_GROUP)
    else:
        points = entry_points().get(ENTRY_POINT_GROUP, ())
    for point in points:
        point.load()
