"""PostgreSQL through psycopg2."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.postgresql.catalog import Catalog
from kallithea_tune.db_migrate.engines.postgresql.column_limits import ColumnLimits
from kallithea_tune.db_migrate.engines.postgresql.connection import SETTINGS
from kallithea_tune.db_migrate.engines.postgresql.definitions import Definitions
from kallithea_tune.db_migrate.engines.postgresql.fingerprint_sql import FingerprintSql
from kallithea_tune.db_migrate.engines.postgresql.reading import Reader
from kallithea_tune.db_migrate.engines.postgresql.violation_sql import ViolationSql
from kallithea_tune.db_migrate.engines.postgresql.writing import Writer


class Engine(base.Engine):
    """PostgreSQL 10 and newer; fingerprints are computed there from 11 on."""

    __dialect__ = "postgresql"
    settings = SETTINGS
    catalog_class = Catalog
    reader_class = Reader
    writer_class = Writer
    definitions_class = Definitions
    column_limits_class = ColumnLimits
    violation_sql_class = ViolationSql
    fingerprint_sql_class = FingerprintSql
