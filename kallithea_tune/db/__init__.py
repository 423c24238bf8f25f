"""Databases: URLs, SQLAlchemy engines, and reading SQLite while others write."""
