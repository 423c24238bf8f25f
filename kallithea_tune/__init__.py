"""Measure, export and migrate a Kallithea installation."""

__version__ = "1.0.0"
