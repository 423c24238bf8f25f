"""The checks of all Celery worker machines, through the broker that Kallithea already has."""
