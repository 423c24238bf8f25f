"""Everything that the source contains, and what becomes of it."""
