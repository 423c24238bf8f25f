"""What a source contains beside its rows, and what becomes of each thing."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Sequence

from kallithea_tune.errors import Refused

LISTED = 8  # things in an error


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
    COLLATION = "collation"
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
        """The name by which ``--leave`` accepts it, such as ``table.name``."""
        name = f"{self.table}.{self.name}" if self.table else self.name
        # The default of a column can be left without the column.
        return f"{name} DEFAULT" if self.kind is ItemKind.DEFAULT else name

    @property
    def label(self) -> str:
        """The kind and the full name, as in "trigger users.audit"."""
        return f"{self.kind.value} {self.full_name}"


def not_carried(items: Sequence[Item]) -> list[Item]:
    """Return what the target will lack, what nobody has accepted first.

    What belongs to a table that is not carried goes without saying.
    """
    lost = [item for item in items if item.fate is Fate.NOT_CARRIED]
    tables = {item.name for item in lost if item.kind is ItemKind.TABLE}
    return sorted(
        (item for item in lost if item.table not in tables), key=lambda item: item.accepted
    )


def require_accepted(items: Sequence[Item]) -> None:
    """Raise Refused where the target would lack something that the admin has not left."""
    lost = [item for item in not_carried(items) if not item.accepted]
    if not lost:
        return
    things = "an object" if len(lost) == 1 else f"{len(lost)} objects"
    names = ", ".join(item.label for item in lost[:LISTED])
    more = f", and {len(lost) - LISTED} more" if len(lost) > LISTED else ""
    tables = all(item.kind is ItemKind.TABLE and not item.table for item in lost)
    copied = "--extra-tables copies tables, " if tables else "--dry-run has the reasons, "
    raise Refused(
        f"the source has {things} that the target would lack ({names}{more}); {copied}--leave NAME "
        "leaves an object behind"
    )
