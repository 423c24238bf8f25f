"""What a source contains beside its rows, and what becomes of each thing."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ItemKind(enum.Enum):
    """What kind of thing a database contains, as its documentation calls it."""

    TABLE = "table"
    COLUMN = "column"
    GENERATED_COLUMN = "generated column"
    INDEX = "index"
    UNIQUE = "unique constraint"
    CHECK = "check constraint"
    FOREIGN_KEY = "foreign key"
    DEFAULT = "default"
    TRIGGER = "trigger"
    VIEW = "view"
    SEQUENCE = "sequence"
    TYPE = "type"
    SCHEMA = "schema"
    ROUTINE = "routine"


class Fate(enum.Enum):
    """What becomes of a thing in the target."""

    CARRIED = "carried"
    FROM_MODELS = "made from the models"
    NOT_CARRIED = "not carried"


@dataclass(frozen=True)
class Item:
    """A thing in the source; `table` is empty where it belongs to none.

    `reason` says why it is not carried. `accepted` is set where the admin chose to leave it.
    """

    kind: ItemKind
    table: str
    name: str
    fate: Fate
    reason: str = ""
    accepted: bool = False

    @property
    def full_name(self) -> str:
        """The name by which ``--leave`` accepts it: ``table.name``, or the name alone."""
        return f"{self.table}.{self.name}" if self.table else self.name
