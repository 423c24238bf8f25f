"""What of a reflected table the target cannot have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallithea_tune.db_migrate.inventory.items import ItemKind

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.engines import Engine


@dataclass(frozen=True)
class Obstacle:
    """A thing of a table that the target cannot have as it is, and why."""

    kind: ItemKind
    table: str
    name: str
    reason: str


def obstacles(source: Engine, target: Engine, table: Table) -> list[Obstacle]:
    """Return what of `table`, as the source has it, the target cannot have."""
    return []
