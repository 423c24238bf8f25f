"""Checks of the repositories area."""
