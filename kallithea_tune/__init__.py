"""Measure, export and migrate a Kallithea installation."""

__version__ = "0.1.0"
