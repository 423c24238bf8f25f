"""What each database engine does in its own way: one package for each, found by its dialect name.

A package has one class `Engine`, which names its parts: how to connect (`connection`), rows out of
it (`reading`) and into it (`writing`), the SQL of fingerprints (`fingerprint_sql`) and of
violations (`violation_sql`), what its columns can store (`column_limits`), what it contains
(`catalog`), how its columns are declared (`definitions`), and the proof that nobody has written to
it (`identity`). Each part is a subclass of the one in `base`, which does what SQLAlchemy alone can
do. A package from elsewhere is registered in the entry-point group ``kallithea_tune.dialects``.
"""

from __future__ import annotations

from kallithea_tune.db_migrate.engines.base import Engine, engine_class, engine_for

__all__ = ["Engine", "engine_class", "engine_for"]
