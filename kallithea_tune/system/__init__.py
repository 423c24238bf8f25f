"""Child processes, scratch space, atomic files, mounts, and control groups."""
