"""Comparing source and target, down to the row."""
