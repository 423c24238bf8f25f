"""The anchors of a page: the same in every report about the same, and each only once."""

from __future__ import annotations

import re


def slug(text: str) -> str:
    """Return letters, digits and dashes for an anchor."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60]


class Anchors:
    """Those that a part of a page has so far."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, *parts: str) -> str:
        """Return an anchor made of `parts`; one that is taken gets a number."""
        anchor = "-".join(filter(None, map(slug, parts)))
        self._taken[anchor] = number = self._taken.get(anchor, 0) + 1
        return anchor if number == 1 else f"{anchor}-{number}"
