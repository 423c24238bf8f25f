"""The proof that nobody has written to a source between two moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Parts = Mapping[str, str]
"""What was read, by what it is."""


class Identity:
    """A database as it is at a moment; other engines know more than that it cannot be proven."""

    def __init__(self, url: str) -> None:
        """Prepare to read; called before anything else connects to the database."""

    def read(self, connection: Connection) -> Parts:
        """Return what is equal at two moments only where no transaction ended between them.

        It may differ nevertheless. Empty where nothing proves it. `connection` is in no
        transaction.
        """
        return {}

    def close(self) -> None:
        """Close what `read` needs, after all connections to the database."""
