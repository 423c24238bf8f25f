"""Checks of the storage area."""
