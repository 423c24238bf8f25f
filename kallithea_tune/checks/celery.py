"""Checks of the celery area."""
