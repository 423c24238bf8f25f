"""The one place that knows what a secret is."""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping
from urllib.parse import unquote

MASK = "***"

SECRET_KEY = re.compile(
    r"(passw(or)?d|passphrase|secret|_key$|\.key$|encrypt|validate_key|token|"
    r"api_?key|credential|app_instance_uuid|private)",
    re.IGNORECASE,
)
# Settings whose names look secret but whose values say nothing: a cookie's name, a cache key's length.
PUBLIC_KEYS = frozenset({"session.key", "beaker.session.key"})

_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)(?P<password>[^\s'\"/]*)@", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?P<head>\b[\w.]*(?:passw(?:or)?d|passphrase|secret|encrypt_key|validate_key|api_?key|token|"
    r"app_instance_uuid)['\"]?\s*[=:]\s*)(?P<value>'[^']*'|\"[^\"]*\"|[^\s,;&)}\]]+)",
    re.IGNORECASE,
)


def is_secret_key(key: str) -> bool:
    """Tell whether the value of the ini option `key` must never be shown."""
    return key not in PUBLIC_KEYS and bool(SECRET_KEY.search(key))


def secrets_of(settings: Mapping[str, str]) -> frozenset[str]:
    """Collect the secret values in `settings`: those of secret keys and every password in a URL."""
    found = set()
    for key, value in settings.items():
        value = str(value)
        if is_secret_key(key):
            found.add(value)
        for match in _URL_PASSWORD.finditer(value):
            found.update((match["password"], unquote(match["password"])))
    # Values this short ("no", "25") would blank out innocent text everywhere.
    return frozenset(value for value in found if len(value) > 3)


class Redactor:
    """Takes known secret values, and whatever looks like one, out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first, so that a secret holding another one goes as a whole.
        self._secrets = sorted(set(secrets), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return `text` with every secret replaced by ``***``."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = _URL_PASSWORD.sub(lambda m: m["head"] + MASK + "@", text)
        return _ASSIGNED.sub(lambda m: m["head"] + MASK, text)

    def value(self, value: Any) -> Any:
        """Return `value`, any nesting of lists and dicts, with every string redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                key: MASK if isinstance(item, str) and is_secret_key(str(key)) else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value
