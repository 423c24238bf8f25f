"""How a page of the target differs from two answers of the source, which differ in ages and tokens.

What is the same in both answers of the source has to be the same on the target.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from kallithea_tune.config.redact import Redactor

SHOWN = 60  # characters of a line that are shown
_LOOKS_ONLY = Redactor()  # masks what looks like a secret
_PIECES = re.compile(r"<[^>]*>|[^<]+|<")
_WORDS = re.compile(r"\w+|\W")


class LineDifference(NamedTuple):
    """The number of the first line that differs, and its text on both sides, shortened."""

    number: int
    source: str
    target: str

    @property
    def sentence(self) -> str:
        """Describe it to the admin."""
        return (
            f"line {self.number} is {self.source!r} on the source and {self.target!r} on the target"
        )


def first_difference(
    before: str, target: str, after: str, redactor: Redactor = _LOOKS_ONLY
) -> Optional[LineDifference]:
    """Return the first line of `target` that differs from `before` and `after`, both of the source.

    The text between two tags, and the words inside a tag, that differ between `before` and `after`
    may be anything in `target`: "6 minutes and 59 seconds ago" becomes "7 minutes ago".
    """
    pages = before.splitlines(), after.splitlines(), target.splitlines()
    for number in range(max(len(pages[0]), len(pages[2]))):
        first, second, other = (page[number] if number < len(page) else "" for page in pages)
        if other not in (first, second) and not _line_fits(first, second, other):
            return LineDifference(
                number + 1, shortened(first, redactor), shortened(other, redactor)
            )
    return None


def _line_fits(first: str, second: str, other: str) -> bool:
    pieces = [_PIECES.findall(line) for line in (first, second, other)]
    return (
        len(pieces[0]) != len(pieces[1])
        or len(pieces[0]) == len(pieces[2])
        and all(map(_piece_fits, *pieces))
    )


def _piece_fits(first: str, second: str, other: str) -> bool:
    if first == second or not first.startswith("<"):
        return first != second or other == first
    words = [_WORDS.findall(piece) for piece in (first, second, other)]
    return (
        len(words[0]) != len(words[1])
        or len(words[0]) == len(words[2])
        and all(one != two or one == three for one, two, three in zip(*words))
    )


def shortened(line: str, redactor: Redactor = _LOOKS_ONLY) -> str:
    """Return a line of a page as it may be shown: without secrets, not even the half of one."""
    line = redactor.text(" ".join(line.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
