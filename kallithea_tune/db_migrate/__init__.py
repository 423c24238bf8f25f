"""Moving the database: `Migration` is the API, documented in docs/db-migrate.rst."""

from __future__ import annotations

from kallithea_tune.db_migrate.migration import Migration
from kallithea_tune.db_migrate.options import Options
from kallithea_tune.db_migrate.result import DryRun, MigrationResult

__all__ = ["DryRun", "Migration", "MigrationResult", "Options"]
