"""db-migrate's domain, and what a program of one's own needs of it: see docs/db-migrate.rst."""

from __future__ import annotations

from kallithea_tune.db_migrate.migration import Migration
from kallithea_tune.db_migrate.options import Options, Report

__all__ = ["Migration", "Options", "Report"]
