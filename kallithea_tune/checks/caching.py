"""Checks of the caching area."""
