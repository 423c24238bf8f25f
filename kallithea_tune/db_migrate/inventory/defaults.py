"""Defaults of columns that mean the same in every engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Optional, Union

from kallithea_tune.db.kinds import Kind

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

_CAST = re.compile(r"::[\w \"\[\]().,]+$")
_STRING = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")
_NOW = re.compile(r"(?:current_timestamp|now)(?:\(\d*\))?", re.IGNORECASE)
_WORDS = {"true": True, "false": False}


def literal(text: str) -> Optional[Union[str, bool]]:
    """Return the value of a default that is a literal; None for any other expression.

    Numbers are returned as they are written, and strings without their quotes.
    """
    bare = text.strip()
    while True:
        stripped = _CAST.sub("", bare).strip()
        if stripped.startswith("(") and stripped.endswith(")"):
            stripped = stripped[1:-1].strip()
        if stripped == bare:
            break
        bare = stripped
    if bare.lower() in _WORDS:
        return _WORDS[bare.lower()]
    quoted = _STRING.fullmatch(bare)
    if quoted:
        return quoted.group(1).replace("''", "'")
    return bare if _NUMBER.fullmatch(bare) else None


def is_portable(text: str) -> bool:
    """Whether every engine can have the default: a literal, or the current time."""
    return literal(text) is not None or bool(_NOW.fullmatch(text.strip()))


def portable(text: str, kind: Kind) -> Union[str, ColumnElement]:
    """Return a portable default for SQLAlchemy, of a column of this kind."""
    import sqlalchemy

    value = literal(text)
    if value is None:
        return sqlalchemy.func.current_timestamp()
    if kind is Kind.boolean:
        return sqlalchemy.true() if value in (True, "1", "true", "t") else sqlalchemy.false()
    if isinstance(value, bool):
        return sqlalchemy.text(str(int(value)))
    return sqlalchemy.text(value) if kind in (Kind.integer, Kind.number) else value
