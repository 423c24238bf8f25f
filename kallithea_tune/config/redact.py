"""Masks secrets in everything that leaves a command.

What is known to be secret comes first: the values of the ini file, the environment, the arguments
and the files given, in every spelling. Then follows what looks like a secret.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from kallithea_tune.config import secret_patterns
from kallithea_tune.config.known_secrets import KnownSecrets
from kallithea_tune.config.secret_names import is_secret_key
from kallithea_tune.config.secret_patterns import MASK
from kallithea_tune.config.secret_values import secrets_of, surroundings

__all__ = ["MASK", "Redactor", "is_secret_key", "secrets_of", "surroundings"]


class Redactor:
    """Masks known secret values, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secrets)
        self._known = KnownSecrets(self.secrets)

    def also(self, secrets: Iterable[str]) -> Redactor:
        """Return a redactor that masks `secrets`, too."""
        return Redactor(self.secrets.union(secrets))

    def text(self, text: str) -> str:
        """Return `text` with every secret replaced by ``***``."""
        return secret_patterns.masked(self._known.masked(text))

    def value(self, value: object) -> Any:
        """Return `value`, any nesting of lists and mappings, with every string redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "replace"))
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self._hidden(item)
                if is_secret_key(str(key))
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(item) for item in value]
        return value

    def _hidden(self, value: object) -> Any:
        """Return the value of a secret option with every text in it masked."""
        if isinstance(value, (str, bytes)):
            return MASK
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._hidden(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._hidden(item) for item in value]
        return value
