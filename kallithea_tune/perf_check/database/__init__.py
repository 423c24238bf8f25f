"""The database: server, schema, SQLite's locks, and contention between writers."""
