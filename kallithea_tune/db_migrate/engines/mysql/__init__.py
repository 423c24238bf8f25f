"""MariaDB and MySQL through mysqlclient or PyMySQL."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.mysql.catalog import Catalog
from kallithea_tune.db_migrate.engines.mysql.column_limits import ColumnLimits
from kallithea_tune.db_migrate.engines.mysql.connection import SETTINGS
from kallithea_tune.db_migrate.engines.mysql.definitions import Definitions
from kallithea_tune.db_migrate.engines.mysql.fingerprint_sql import FingerprintSql
from kallithea_tune.db_migrate.engines.mysql.identity import Identity
from kallithea_tune.db_migrate.engines.mysql.reading import Reader
from kallithea_tune.db_migrate.engines.mysql.violation_sql import ViolationSql
from kallithea_tune.db_migrate.engines.mysql.writing import Writer


class Engine(base.Engine):
    """MariaDB 10.2 and MySQL 5.7, and newer ones."""

    __dialect__ = "mysql"
    settings = SETTINGS
    catalog_class = Catalog
    identity_class = Identity
    reader_class = Reader
    writer_class = Writer
    definitions_class = Definitions
    column_limits_class = ColumnLimits
    violation_sql_class = ViolationSql
    fingerprint_sql_class = FingerprintSql
