"""The one place that knows what a secret is."""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
# Values up to this length ("no", "25") would mask innocent text: they are masked in quotes only.
SHORT = 3

_SECRET_WORDS = (
    r"passw(?:or)?d|passphrase|secret|encrypt|validate_key|api_?key|token|credential"
    r"|app_instance_uuid"
)
SECRET_KEY = re.compile(rf"({_SECRET_WORDS}|_key$|\.key$|private)", re.IGNORECASE)
# Names that look secret although their values are not: a cookie's name, the columns of an index.
PUBLIC_KEY = re.compile(r"(^|\.)session\.key$|(foreign|primary|public|cache)_key$", re.IGNORECASE)

_USER = r"[a-z][a-z0-9+.-]*://[^\s:/@'\"]*"
# Greedy, since SQLAlchemy accepts passwords with @ and /.
_URL_PASSWORD = re.compile(rf"(?P<head>{_USER}:)(?P<password>[^\s'\"]*)@", re.IGNORECASE)
# A user name alone is a token in the URLs of web services; in ssh://git@host it is not.
_URL_TOKEN = re.compile(r"(?P<head>https?://)(?P<token>[^\s:/@'\"?#]+)@", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?P<head>\b[\w.]*(?:{_SECRET_WORDS})['\"]?\s*[=:]\s*)"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s,;&)}\]'\"]+)",
    re.IGNORECASE,
)


def is_secret_key(key: str) -> bool:
    """Whether the value of the ini option `key` must never be shown."""
    return bool(SECRET_KEY.search(key)) and not PUBLIC_KEY.search(key)


def secrets_of(*sections: Mapping[str, object]) -> frozenset[str]:
    """Return the secret values in `sections`: those of secret keys, and every password in a URL.

    A value that is also in other settings, as in ``kallithea:kallithea@localhost``, is left out:
    masking it everywhere would spoil paths and names, and in a path nobody can tell that it is the
    password.
    """
    secrets: set[str] = set()
    public = []
    for key, value in (item for section in sections for item in section.items()):
        if is_secret_key(key):
            secrets.add(str(value))
            public.append(key)
        else:
            secrets.update(_inside(str(value)))
            public.append(f"{key} = {Redactor().text(str(value))}")
    everything_public = "\n".join(public)
    return frozenset(value for value in secrets if value and value not in everything_public)


def _inside(value: str) -> Iterator[str]:
    for part in re.split(r"[;\s]", value):
        for match in _URL_PASSWORD.finditer(part):
            # Which @ ends the password depends on the reader of the URL: each is assumed.
            pieces = match["password"].split("@")
            yield from ("@".join(pieces[:count]) for count in range(1, len(pieces) + 1))
        yield from (match["token"] for match in _URL_TOKEN.finditer(part))
        yield from (match["value"].strip("'\"") for match in _ASSIGNED.finditer(part))


def _spellings(secret: str) -> set[str]:
    """Return `secret` as URLs, JSON and Python's repr encode it, and decoded from each."""
    decoded = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {
        write(value)
        for value in decoded
        for write in (quote, quote_plus, lambda text: quote(text, safe=""))
    }
    escaped = {write(value)[1:-1] for value in decoded for write in (repr, json.dumps)}
    return decoded | encoded | escaped


class Redactor:
    """Masks known secret values, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secrets)
        spelled = {spelling for secret in self.secrets for spelling in _spellings(secret)}
        # Longest first, so that a secret that contains another is masked completely.
        self._long = sorted(
            (value for value in spelled if len(value) > SHORT), key=len, reverse=True
        )
        short = "|".join(re.escape(value) for value in spelled if 0 < len(value) <= SHORT)
        self._short = re.compile(rf"(?P<quote>['\"])(?:{short})(?P=quote)") if short else None

    def text(self, text: str) -> str:
        """Return `text` with every secret replaced by ``***``."""
        for secret in self._long:
            text = text.replace(secret, MASK)
        if self._short:
            text = self._short.sub(rf"\g<quote>{MASK}\g<quote>", text)
        text = _URL_PASSWORD.sub(lambda m: m["head"] + MASK + "@", text)
        text = _URL_TOKEN.sub(lambda m: m["head"] + MASK + "@", text)
        return _ASSIGNED.sub(lambda m: m["head"] + MASK, text)

    def value(self, value: object) -> Any:
        """Return `value`, any nesting of lists and mappings, with every string redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): MASK
                if isinstance(item, str) and is_secret_key(str(key))
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value
