"""Publishes what the application serves statically; configures and verifies web servers."""
