"""Collects what the application serves statically, publishes it, configures and verifies servers."""
