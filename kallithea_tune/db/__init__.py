"""Database URLs, SQLAlchemy engines, and reading SQLite beside its users."""
