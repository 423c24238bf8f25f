"""Scaling out: what several instances must share, and whether their storage allows it."""
