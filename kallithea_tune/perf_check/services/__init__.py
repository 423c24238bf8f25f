"""Servers and programs that requests wait for: those of log-ins, of mail, and git."""
