"""Connecting to MariaDB and MySQL."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.connection import Driver, Setting

SQL_MODES = (
    "STRICT_ALL_TABLES",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_ENGINE_SUBSTITUTION",
)
WEEK = 7 * 24 * 60 * 60  # seconds
LONGEST_GROUP = 1 << 26  # bytes; more than the digests of any range
SOURCE_LOCK_SECONDS = 10
TARGET_LOCK_SECONDS = 300
INNODB_LOCK_SECONDS = 50  # the server's default

# A comment that begins with M!100300 is read by MariaDB 10.3 and newer only, and one that begins
# with !50708 by MySQL 5.7.8 and newer only.
SETTINGS = base.ConnectionSettings(
    extra="mysql",
    drivers=(Driver("MySQLdb", "mysql"), Driver("pymysql", "mysql+pymysql")),
    connect_args={
        "connect_timeout": 10,
        "local_infile": True,
        "charset": "utf8mb4",
        # Here as well, since SQLAlchemy reads the mode only once, on its first connection.
        "sql_mode": ",".join(SQL_MODES),
    },
    session=(
        Setting(
            "SET SESSION /*M!100200 max_statement_time = 0, */ /*!50708 max_execution_time = 0, */"
            " sql_select_limit = 18446744073709551615",
            "one statement reads a table, for hours, and to its end",
        ),
        Setting(
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
            "text is sent and received as UTF-8 with four bytes, not as the client first requested",
        ),
        Setting(
            "SET SESSION sql_mode = '{}'".format(",".join(SQL_MODES)),
            "a value that does not fit is an error; quotes, backslashes, ||, spaces at the end and"
            " empty strings mean what they do by default; 0 is a key like any other",
        ),
        Setting(
            "SET SESSION time_zone = '+00:00'",
            "a TIMESTAMP is written the same at both ends, and no hour of a year occurs twice",
        ),
        Setting(
            "SET SESSION /*M!100300 idle_transaction_timeout = 0, idle_write_transaction_timeout ="
            " 0, idle_readonly_transaction_timeout = 0, */"
            f" wait_timeout = {WEEK}, net_read_timeout = {WEEK}, net_write_timeout = {WEEK}",
            "each end waits for the other, such as while keys are added",
        ),
        Setting(
            f"SET SESSION group_concat_max_len = {LONGEST_GROUP}",
            "GROUP_CONCAT truncates digests silently",
        ),
        Setting(
            "SET SESSION max_error_count = 64, sql_notes = 1",
            "LOAD DATA only warns of what it changes, and with 0 no warning is kept",
        ),
        Setting("SET SESSION max_sort_length = 3072", "rows are sorted by entire keys"),
        Setting(
            "SET SESSION div_precision_increment = 4 /*M!100200 , default_regex_flags = '' */",
            "numbers are divided and patterns matched as by default",
        ),
        Setting("SET SESSION sql_auto_is_null = 0", "IS NULL never finds the last key generated"),
        Setting(
            "SET SESSION sql_safe_updates = 0, sql_big_selects = 1",
            "tables without a key are emptied, and large ones joined",
        ),
        Setting("SET SESSION sql_quote_show_create = 1", "SHOW CREATE TABLE can be read"),
        Setting(
            "SET SESSION completion_type = NO_CHAIN",
            "COMMIT neither begins a new transaction nor disconnects",
        ),
        Setting(
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "a transaction sees one moment, and reading locks nothing",
        ),
        Setting(
            "SET SESSION foreign_key_checks = 1, unique_checks = 1"
            " /*M!100200 , check_constraint_checks = 1 */",
            "constraints are enforced, except where the copy checks them itself",
        ),
        Setting(
            "SET SESSION lc_messages = 'en_US'",
            "values of rows are masked in messages, which are recognised in English",
        ),
    ),
    source_session=(
        Setting("SET SESSION TRANSACTION READ ONLY", "the source is never written to"),
        Setting(
            f"SET SESSION lock_wait_timeout = {SOURCE_LOCK_SECONDS}",
            "a locked table is reported within seconds; all are read while rows are counted, and"
            " from then on the snapshot waits for no lock",
        ),
    ),
    target_session=(
        Setting(
            f"SET SESSION lock_wait_timeout = {TARGET_LOCK_SECONDS}",
            "a backup may keep tables from being created for minutes, which must not end a copy",
        ),
        Setting(
            f"SET SESSION innodb_lock_wait_timeout = {INNODB_LOCK_SECONDS}",
            "only others in the target can have locked its rows",
        ),
    ),
)


class Connected(base.Connected):
    """Quotes identifiers for both drivers, which format statements with arguments by %."""

    def quoted_with_arguments(self, name: str) -> str:
        """Return an identifier as it is written in a statement that has arguments."""
        return self.quoted(name).replace("%", "%%")
