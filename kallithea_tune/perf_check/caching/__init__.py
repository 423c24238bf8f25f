"""Beaker's caches and sessions: their settings, their files, and what they gain."""
