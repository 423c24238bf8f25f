"""Disks, file systems, memory: where the directories lie and how fast they are."""
