"""db-migrate's domain, and what a program of one's own needs of it: see docs/db-migrate.rst."""

from __future__ import annotations

from kallithea_tune.migration.outcome import Options, Report
from kallithea_tune.migration.run import Migration

__all__ = ["Migration", "Options", "Report"]
