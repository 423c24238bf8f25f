"""What is known about a database: the values that measurements return and checks judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, NamedTuple, Optional

from kallithea_tune.perf_check.measurement import Examined

LOG, REVISIONS = "user_logs", "alembic_version"


class ForeignKey(NamedTuple):
    """A foreign key by its table and first column."""

    table: str
    column: str


class TextLengths(NamedTuple):
    """Average lengths in characters of the texts in a row of user_logs."""

    username: int = 8
    repository_name: int = 20
    action: int = 40


@dataclass(frozen=True)
class LogFacts:
    """How user_logs grows: rows in its busiest minute of late, and the lengths of its texts."""

    rows_a_day: float
    busiest_minute: int
    lengths: TextLengths


@dataclass(frozen=True)
class TableMaintenance:
    """PostgreSQL's counters for a table; days since VACUUM and ANALYZE are None for never.

    `changed_rows` counts those since the last ANALYZE, `analyzed` says whether there are any
    statistics.
    """

    dead_rows: int
    changed_rows: int
    analyzed: bool
    vacuum_days: Optional[float]
    analyze_days: Optional[float]


@dataclass(frozen=True)
class TableFacts:
    """Rows of a table, possibly estimated, and its bytes with indexes (0 in SQLite).

    `engine` is MySQL's for this table, which is `transactional` or not; `maintained` is false where
    a setting of the table switches its upkeep off: autovacuum, or the renewal of statistics.
    """

    rows: int
    bytes: int = 0
    maintenance: Optional[TableMaintenance] = None
    engine: str = ""
    transactional: bool = True
    maintained: bool = True


@dataclass(frozen=True)
class SqliteFacts:
    """The pragmas that describe a SQLite file."""

    journal_mode: str
    page_size: int
    pages: int
    free_pages: int


class Setting(NamedTuple):
    """A setting of the server, and where PostgreSQL has its value from."""

    name: str
    value: str
    source: str = ""


@dataclass(frozen=True)
class ServerLimits:
    """Connections in use and allowed, and when the server closes idle ones (0 for never)."""

    connections: int
    max_connections: int
    idle_timeout_s: float


@dataclass(frozen=True)
class InnodbFacts:
    """InnoDB's buffer pool, and the page requests since the server started: all, and from disk.

    `renews_statistics` is innodb_stats_auto_recalc.
    """

    buffer_pool_bytes: int
    page_requests: int
    page_reads: int
    renews_statistics: bool = True


@dataclass(frozen=True)
class DatabaseFacts:
    """What a database reports about itself.

    Beyond engine, version and round trips everything is left at its default for an engine that is
    not `supported`. `log` is None without log rows, `revisions` without the table alembic_version;
    `sqlite`, `server`, `autovacuum` (PostgreSQL) and `innodb` where they do not apply. `settings`
    are those that a check judges by their value; `superuser` says whether the user may change them.
    """

    engine: str
    version: str
    supported: bool = True
    round_trips_ms: tuple[float, ...] = ()
    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    unindexed_keys: tuple[ForeignKey, ...] = ()
    log: Optional[LogFacts] = None
    revisions: Optional[tuple[str, ...]] = None
    sqlite: Optional[SqliteFacts] = None
    server: Optional[ServerLimits] = None
    autovacuum: Optional[bool] = None
    innodb: Optional[InnodbFacts] = None
    settings: tuple[Setting, ...] = ()
    superuser: bool = False

    def setting(self, name: str) -> Setting:
        """Return a setting by its name; its value is empty where there is none."""
        found = (setting for setting in self.settings if setting.name == name)
        return next(found, Setting(name, ""))

    @property
    def size_bytes(self) -> int:
        """The bytes that tables and indexes take."""
        if self.sqlite:
            return self.sqlite.pages * self.sqlite.page_size
        return sum(table.bytes for table in self.tables.values())

    @property
    def examined(self) -> Examined:
        """All tables."""
        return Examined(len(self.tables), len(self.tables), "table")
