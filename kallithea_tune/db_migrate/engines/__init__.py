"""What each engine does in its own way. To add one: a subclass of `Dialect` in a module of its own.

A module outside of this package is named in the entry-point group ``kallithea_tune.dialects``.
"""

from __future__ import annotations

from kallithea_tune.db_migrate.engines.base import Dialect, dialect_of

__all__ = ["Dialect", "dialect_of"]
