"""Processes and files: children, scratch space, atomic replacement, mounts, control groups."""
