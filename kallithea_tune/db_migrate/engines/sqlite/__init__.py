"""SQLite through Python's own module."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.sqlite.catalog import Catalog
from kallithea_tune.db_migrate.engines.sqlite.column_limits import ColumnLimits
from kallithea_tune.db_migrate.engines.sqlite.connection import SETTINGS
from kallithea_tune.db_migrate.engines.sqlite.definitions import Definitions
from kallithea_tune.db_migrate.engines.sqlite.fingerprint_sql import FingerprintSql
from kallithea_tune.db_migrate.engines.sqlite.identity import Identity
from kallithea_tune.db_migrate.engines.sqlite.reading import Reader
from kallithea_tune.db_migrate.engines.sqlite.violation_sql import ViolationSql
from kallithea_tune.db_migrate.engines.sqlite.writing import Writer


class Engine(base.Engine):
    """SQLite, as a file or in memory."""

    __dialect__ = "sqlite"
    settings = SETTINGS
    catalog_class = Catalog
    identity_class = Identity
    reader_class = Reader
    writer_class = Writer
    definitions_class = Definitions
    column_limits_class = ColumnLimits
    violation_sql_class = ViolationSql
    fingerprint_sql_class = FingerprintSql
