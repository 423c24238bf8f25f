"""What only the text of CREATE TABLE says in SQLite: the collations of columns."""

from __future__ import annotations

import re
from typing import Iterator, Sequence

# https://www.sqlite.org/lang_createtable.html
_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?(?:\*/|\Z)"""
    r"""|(?P<token>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]"""
    r"""|[\w$]+(?:\.\d+)?|.)""",
    re.DOTALL,
)
_CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}


def collations(statement: str) -> dict[str, str]:
    """Return the collations by column that a statement in ``sqlite_master`` declares."""
    tokens = [match["token"] for match in _TOKEN.finditer(statement) if match["token"]]
    found = {}
    for part in _parts(tokens):
        words = [token.upper() for token in part]
        if words and words[0] not in _CONSTRAINTS and "COLLATE" in words[:-1]:
            collation = unquoted(words[words.index("COLLATE") + 1])
            found[unquoted(part[0])] = "" if collation == "BINARY" else collation
    return found


def _parts(tokens: Sequence[str]) -> Iterator[list[str]]:
    """Yield the definitions between the outermost parentheses."""
    depth = 0
    part: list[str] = []
    for token in tokens:
        if token == ")":
            depth -= 1
            if not depth:
                break
        if depth == 1 and token == ",":
            yield part
            part = []
        elif depth:
            part.append(token)
        if token == "(":
            depth += 1
    yield part


def unquoted(token: str) -> str:
    """Return an identifier without its quotes."""
    for opening, closing in ('""', "``", "[]", "''"):
        if token.startswith(opening):
            return token[1:-1].replace(closing * 2, closing)
    return token
