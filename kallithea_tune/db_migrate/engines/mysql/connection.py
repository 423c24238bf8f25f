"""Connecting to MariaDB and MySQL."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.connection import Driver

SQL_MODES = (
    "STRICT_ALL_TABLES",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_ENGINE_SUBSTITUTION",
)
WEEK = 7 * 24 * 60 * 60  # seconds

SETTINGS = base.ConnectionSettings(
    extra="mysql",
    drivers=(Driver("MySQLdb", "mysql"), Driver("pymysql", "mysql+pymysql")),
    connect_args={
        "connect_timeout": 10,
        "local_infile": True,
        "charset": "utf8mb4",
        # Strict, and without ANSI quotes. Set here, since SQLAlchemy reads the mode only once, on
        # its first connection.
        "sql_mode": ",".join(SQL_MODES),
    },
    session_statements=tuple(
        f"SET SESSION {name} = {WEEK}"
        for name in ("wait_timeout", "net_read_timeout", "net_write_timeout")
    ),
)


class Connected(base.Connected):
    """Quotes identifiers for both drivers, which format statements with arguments by %."""

    def quoted_with_arguments(self, name: str) -> str:
        """Return an identifier as it is written in a statement that has arguments."""
        return self.quoted(name).replace("%", "%%")
