"""What preflight found: the rows of one column, or of one key, that break one rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Sequence

from kallithea_tune.db_migrate.preflight.rules import RULES

NAMED = 20  # rows that are named


@dataclass
class Finding:
    """`count` rows of `table` break `rule` in `columns`; `keys` are the primary keys of the first
    20.

    `what` says what is wrong with them. `actions` are the fixes that are possible here, `fix` is
    the one that was chosen, empty for none, and `left` how many rows it does not mend.
    """

    rule: str
    table: str
    columns: tuple[str, ...]
    what: str
    count: int
    keys: list[Any] = field(default_factory=list)
    actions: tuple[str, ...] = ()
    fix: str = ""
    left: int = 0

    @property
    def sentence(self) -> str:
        """Say it to the admin."""
        where = "{}.{}".format(self.table, ", ".join(self.columns)) if self.columns else self.table
        more = ", ..." if self.count > len(self.keys) else ""
        keys = " (key {}{})".format(", ".join(map(shown_key, self.keys)), more) if self.keys else ""
        return "%s: %s in %d %s%s" % (
            where,
            self.what,
            self.count,
            "row" if self.count == 1 else "rows",
            keys,
        )

    @property
    def remedy(self) -> str:
        """Say what will be done about it, or can be."""
        if self.fix and not self.left:
            return f"mended on the way: {self.rule}={self.fix}"
        if self.fix:
            return "%s=%s leaves %d of them; mend them in the source" % (
                self.rule,
                self.fix,
                self.left,
            )
        if self.actions:
            return "mend it in the source, or --fix {}".format(
                " or ".join(f"{self.rule}={action}" for action in self.actions)
            )
        return f"mend it in the source; no fix for {RULES[self.rule].name} is possible here"


def shown_key(key: Any) -> str:
    """Write a primary key: the value, or the values."""
    values: Sequence[Any] = key if isinstance(key, (list, tuple)) else [key]
    return "/".join(
        str(value)[:40] if isinstance(value, (int, str)) else repr(value)[:40] for value in values
    )
