"""Background tasks: the broker, the workers, and mail."""
