"""What a source contains beside its rows, and what becomes of each thing."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Iterable


class ItemKind(enum.Enum):
    """What kind of thing a database contains, as its documentation calls it."""

    TABLE = "table"
    COLUMN = "column"
    GENERATED_COLUMN = "generated column"
    INDEX = "index"
    UNIQUE = "unique constraint"
    CHECK = "check constraint"
    EXCLUSION = "exclusion constraint"
    FOREIGN_KEY = "foreign key"
    DEFAULT = "default"
    TRIGGER = "trigger"
    RULE = "rule"
    POLICY = "policy"
    VIEW = "view"
    SEQUENCE = "sequence"
    TYPE = "type"
    SCHEMA = "table of another schema"
    ROUTINE = "routine"
    EVENT = "event"
    EXTENSION = "extension"


class Fate(enum.Enum):
    """What becomes of a thing in the target."""

    CARRIED = "carried"
    FROM_MODELS = "made from the models"
    INTERNAL = "the engine's own"
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

    @property
    def label(self) -> str:
        """The kind and the full name, as in "trigger users.audit"."""
        return f"{self.kind.value} {self.full_name}"


def not_carried(items: Iterable[Item]) -> list[Item]:
    """Return what the target will lack, what nobody has accepted first."""
    lost = [item for item in items if item.fate is Fate.NOT_CARRIED]
    return sorted(lost, key=lambda item: item.accepted)
