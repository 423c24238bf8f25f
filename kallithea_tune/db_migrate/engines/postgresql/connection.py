"""Connecting to PostgreSQL, whose databases and roles may have settings of their own."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines.base import ConnectionSettings, Setting
from kallithea_tune.db_migrate.engines.base.connection import Driver

SOURCE_LOCK_SECONDS = 10
TARGET_LOCK_SECONDS = 60

SETTINGS = ConnectionSettings(
    extra="postgresql",
    drivers=(Driver("psycopg2", "postgresql"),),
    connect_args={"connect_timeout": 10, "client_encoding": "utf8"},
    session=(
        Setting("SET statement_timeout = 0", "one statement copies a table, for hours"),
        Setting("SET client_encoding = 'UTF8'", "text is sent and received as UTF-8"),
        Setting("SET DateStyle = 'ISO, YMD'", "dates are written in the form that is read"),
        Setting("SET IntervalStyle = 'postgres'", "the driver reads intervals in this form only"),
        Setting("SET TimeZone = 'UTC'", "a time with a zone is written the same at both ends"),
        Setting("SET bytea_output = 'hex'", "COPY writes bytes in the form that is read"),
        Setting("SET extra_float_digits = 3", "floats are written with all of their digits"),
        Setting("SET standard_conforming_strings = on", "a backslash in a literal is a backslash"),
        Setting("SET quote_all_identifiers = off", "names in the catalog are compared as text"),
        Setting("SET transform_null_equals = off", "a comparison with NULL is never true"),
        Setting("SET synchronize_seqscans = off", "rows without a key come in one order"),
        Setting(
            "SET row_security = off",
            "a policy that hides rows causes an error instead of lost rows",
        ),
        Setting(
            "SET idle_in_transaction_session_timeout = 0",
            "the source's snapshot waits while keys are added to the target",
        ),
        Setting(
            "SELECT set_config(name, '0', false) FROM pg_settings"
            " WHERE name IN ('transaction_timeout', 'idle_session_timeout')",
            "the same, in versions that have them",
        ),
        Setting(
            "SELECT set_config(name, '1s', false) FROM pg_settings"
            " WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'",
            "a statement of a run that was killed ends, and with it the lock on the target",
        ),
        Setting(
            "SET default_transaction_isolation = 'read committed'",
            "a serializable transaction that writes all rows would keep a lock for each page",
        ),
        Setting(
            "SELECT set_config('lc_messages', 'C', false) FROM pg_roles"
            " WHERE rolname = current_user AND rolsuper",
            "values of rows are masked in messages, which are recognised in English; only a"
            " superuser may set it",
        ),
    ),
    source_session=(
        Setting(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "the source is never written to"
        ),
        Setting(
            f"SET lock_timeout = '{SOURCE_LOCK_SECONDS}s'",
            "a locked table is reported within seconds; all are read while rows are counted, and"
            " from then on the snapshot waits for no lock",
        ),
    ),
    target_session=(
        Setting(
            "SELECT set_config('session_replication_role', 'origin', false)"
            " WHERE current_setting('session_replication_role') <> 'origin'",
            "foreign keys are enforced; only a superuser may set it",
        ),
        Setting(
            f"SET lock_timeout = '{TARGET_LOCK_SECONDS}s'",
            "only others in the target, such as a backup, can make catching up wait, and the"
            " application is stopped meanwhile",
        ),
    ),
)
