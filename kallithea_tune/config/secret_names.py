"""Which options, variables and columns hold a secret, by the words of their names."""

from __future__ import annotations

import functools
import re


def words_of(text: str) -> frozenset[str]:
    """Return the words of a list that is written as one text."""
    return frozenset(text.split())


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET = words_of(
    "apikey authorization credential credentials dsn hmac licence license otp pass passcode"
    " passphrase passwd password passwords passwort pgpass pin pw pwd salt secret secrets slack"
    " token tokens totp webhook webhooks"
)
# As in userpw and PGPASSWORD; but not in bypass, compass and trespass.
_SECRET_ENDS = re.compile(
    r"(?:passw(?:or)?d|passphrase|secret|apikey|pwd|pw|(?<!by)(?<!com)(?<!tres)(?<!sur)pass)$"
)
# One of these before "key" or "auth": api_key, aws.access_key_id, basic_auth.
_SECRET_KEYS = words_of(
    "access account api auth client crypt csrf decrypt encrypt encryption master private secret"
    " shared sign signing storage validate"
)
_SECRET_AUTHS = words_of("basic bearer digest http proxy")
# A name with one of these at its end says something about a secret; it is none itself.
_ABOUT = words_of(
    "age algorithm backend bits bytes characters class column count days dir directory enable"
    " enabled env expires expiry field file form format function header help icon label len length"
    " level lifetime limit link max message method min minutes mode name names page path policy"
    " prefix regex required rounds seconds size strength template text timeout title ttl type"
    " types"
)
# With one of these in front it is a switch: allow_custom_hooks_key, task_track_tokens.
_SWITCHES = words_of("allow can disable enable forgot has hide is max min require show")
_TRACKING = words_of("count max min num number track")
# The name of a cookie, and the columns of indexes.
_PUBLIC_KEYS = words_of("cache foreign primary public session sort")


@functools.lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether the value of the option, variable or column `key` must never be shown."""
    words = [word.lower() for word in _WORDS.findall(key[-200:])]
    if not words or words[-1] in _ABOUT or words[0] in _SWITCHES:
        return False
    if words[-1] == "tokens" and _TRACKING & set(words):
        return False
    if words[-1] == "key" and len(words) > 1:
        return words[-2] not in _PUBLIC_KEYS
    if words[-1] == "private" and len(words) > 1:
        return key.lower().endswith(".private")
    return (
        any(word in _SECRET or _SECRET_ENDS.search(word) for word in words)
        or _pair(words, _SECRET_KEYS, "key", "keys")
        or _pair(words, _SECRET_AUTHS, "auth")
        or _pair(words, frozenset({"oauth"}), "client")
        or _pair(words, frozenset({"instance"}), "uuid")
    )


# Columns of Kallithea with values of every kind, secrets among them: settings such as the password
# for LDAP, Mercurial's [auth], and the address that a private gist is found by.
_SECRET_COLUMNS = words_of("app_settings_value field_value gist_access_id ui_value")


def is_secret_column(name: str) -> bool:
    """Whether the values of a column of the database must never be shown."""
    return is_secret_key(name) or name in _SECRET_COLUMNS


def _pair(words: list[str], first: frozenset[str], *second: str) -> bool:
    return any(one in first and two in second for one, two in zip(words, words[1:]))
