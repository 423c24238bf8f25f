"""A release: its manifest, what it would change, and how it is published."""
