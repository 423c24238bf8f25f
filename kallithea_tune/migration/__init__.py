"""db-migrate's domain: a database moved to another engine, whole, and held against the original."""
