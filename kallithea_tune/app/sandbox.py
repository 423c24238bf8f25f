"""Settings that keep the application from writing to real places, and from reaching others."""

from __future__ import annotations

import os
import re
from typing import Mapping

_STORES = re.compile(
    r"^(beaker\.)?(session|cache)\.(.*\.)?(?P<what>(data|lock|file|dbm)_dir|type)$"
)
_LOCAL_STORES = frozenset({"memory", "file", "dbm", "cookie"})
# Settings that would reach others: mail about errors, the message queue.
_SILENT = {
    "email_to": "",
    "trace_errors.error_email": "",
    "trace_errors.sentry_dsn": "",
    "trace_slowreqs.enable": "false",
    "celery.broker_url": "memory://",
}


def sandboxed(settings: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the settings that keep what the application writes in `directory`, and silence it.

    That is caches, sessions, archives, compiled templates, mail and tasks.
    """
    changed = {"cache_dir": directory, "archive_cache_dir": os.path.join(directory, "archives")}
    changed.update({key: value for key, value in _SILENT.items() if key in settings})
    if settings.get("templating.mako.compiled_templates_dir"):
        changed["templating.mako.compiled_templates_dir"] = os.path.join(directory, "templates")
    for key, value in settings.items():
        match = _STORES.match(key)
        if match and match["what"] == "type":
            # In a shared store (memcached, database) our sessions and entries would mix with real
            # ones.
            changed[key] = value if value in _LOCAL_STORES else "file"
        elif match:
            changed[key] = os.path.join(directory, key)
    return changed
