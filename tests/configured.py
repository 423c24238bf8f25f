"""An instance that exists as a value only, for judgements that read its settings."""

from __future__ import annotations

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor
from kallithea_tune.perf_check.measurement import Configuration


def configured(**settings: str) -> Configuration:
    """Return the configuration of ``/srv/my.ini`` with these settings; ``_`` stands for a dot."""
    options = {name.replace("_", ".", 1): value for name, value in settings.items()}
    instance = Instance(
        "/srv/my.ini",
        "main",
        "app:main",
        "egg:kallithea",
        options,
        {},
        {"app:main": options},
        Redactor(frozenset()),
    )
    return Configuration(instance)
