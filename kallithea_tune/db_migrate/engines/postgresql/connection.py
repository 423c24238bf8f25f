"""Connecting to PostgreSQL."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines.base import ConnectionSettings
from kallithea_tune.db_migrate.engines.base.connection import Driver

SETTINGS = ConnectionSettings(
    extra="postgresql",
    drivers=(Driver("psycopg2", "postgresql"),),
    connect_args={"connect_timeout": 10, "client_encoding": "utf8"},
    # Servers may have limits by default.
    session_statements=(
        "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
    ),
)
