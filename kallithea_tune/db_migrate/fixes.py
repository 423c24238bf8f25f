"""What is done to rows on their way: chosen by the admin, found to be needed by preflight, applied
here.

The source is never changed. What becomes of a row depends on the row alone and on what preflight
found, so that the verification can ask for it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.db_migrate import fixed_values
from kallithea_tune.db_migrate.preflight.limits import Limits, breaks, octets
from kallithea_tune.db_migrate.preflight.rules import DELETE
from kallithea_tune.db_migrate.values import Kind, Row


class Outcome(NamedTuple):
    """What became of a row: None when it was left out; `fixes` are those that did it, as
    ``rule=action``.
    """

    row: Optional[Row]
    fixes: tuple[str, ...]


class Step(NamedTuple):
    """A fix of one column's values."""

    place: int
    rule: str
    action: str
    limits: Limits

    @property
    def name(self) -> str:
        """What ``--fix`` calls it."""
        return f"{self.rule}={self.action}"


@dataclass
class Reference:
    """A column that refers to rows that are not there, or will not be: `lost` are its values,
    `action` the fix.
    """

    place: int
    action: str = ""
    lost: set[Any] = field(default_factory=set)


@dataclass
class TableFixes:
    """What is done to the rows of one table. `places` are those of the primary key, `packet` what a
    row may take.
    """

    columns: Sequence[str]
    kinds: Sequence[Kind]
    places: Sequence[int]
    steps: list[Step] = field(default_factory=list)
    references: dict[str, Reference] = field(default_factory=dict)
    doubles: dict[str, set[Any]] = field(default_factory=dict)
    packet: Optional[int] = None

    @property
    def touches(self) -> bool:
        """Whether there is anything to do."""
        return bool(
            self.steps
            or self.doubles
            or self.packet
            or any(item.action and item.lost for item in self.references.values())
        )

    def key(self, row: Sequence[Any]) -> Any:
        """Return the primary key of a row: the value, or a tuple of them; without one, the whole
        row.
        """
        values = tuple(row[place] for place in self.places) if self.places else tuple(row)
        return values[0] if len(values) == 1 else values

    def apply(self, row: Sequence[Any]) -> Outcome:
        """Return what becomes of a row in storage form."""
        values, applied = list(row), []
        for step in self.steps:
            if breaks(step.rule, values[step.place], step.limits):
                applied.append(step.name)
                if step.action == DELETE:
                    return Outcome(None, tuple(applied))
                values[step.place] = fixed_values.mended(
                    step.rule, step.action, values[step.place], step.limits
                )
        for reference in self.references.values():
            if reference.action and values[reference.place] in reference.lost:
                applied.append(f"orphans={reference.action}")
                if reference.action == DELETE:
                    return Outcome(None, tuple(applied))
                values[reference.place] = None
        if self.packet is not None and self.size(values) > self.packet:
            return Outcome(None, (*applied, "too-big=delete"))
        for name, keys in self.doubles.items():
            if self.key(row) in keys:
                return Outcome(None, (*applied, name))
        return Outcome(tuple(values), tuple(applied))

    def size(self, row: Sequence[Any]) -> int:
        """Return how many bytes of text and binary data there are in a row."""
        return sum(
            octets(value)
            for kind, value in zip(self.kinds, row)
            if kind in (Kind.text, Kind.binary) and value is not None
        )


class Fixes:
    """All of them, table by table."""

    def __init__(self, tables: Optional[Mapping[str, TableFixes]] = None) -> None:
        self.tables = dict(tables or {})

    @property
    def needed(self) -> bool:
        """Whether any row is touched."""
        return any(self.touches(name) for name in self.tables)

    def touches(self, table: str) -> bool:
        """Tell whether rows of `table` may be changed or left out."""
        return table in self.tables and self.tables[table].touches

    def amend(self, table: str) -> Optional[Callable[[Sequence[Row]], Sequence[Row]]]:
        """Return what changes and leaves out rows of `table`, without keeping them; None where
        nothing is to be done.
        """
        if not self.touches(table):
            return None
        apply = self.tables[table].apply
        return lambda rows: [row for row in (apply(row).row for row in rows) if row is not None]

    def expected(
        self, table: str, columns: Sequence[str], row: Sequence[Any]
    ) -> Optional[Sequence[Any]]:
        """Return what a row in storage form, with `columns` in this order, becomes; None when it is
        left out.
        """
        if not self.touches(table):
            return row
        fixes = self.tables[table]
        given = dict(zip(columns, row))
        became = fixes.apply([given[name] for name in fixes.columns]).row
        if became is None:
            return None
        made = dict(zip(fixes.columns, became))
        return [made[name] for name in columns]
