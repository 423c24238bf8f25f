"""What becomes of each thing in the source, from what was found there and the models alone."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, AbstractSet, Iterable, Mapping, NamedTuple, Sequence

from kallithea_tune.db_migrate.inventory.items import Fate, Item, ItemKind
from kallithea_tune.errors import ConfigError, Refused

if TYPE_CHECKING:
    from kallithea_tune.db.tables import Described
    from kallithea_tune.db_migrate.engines.base.catalog import Found
    from kallithea_tune.db_migrate.extra.obstacles import Obstacle

LEFT = "left behind by --leave"
EXTRA = "no model has it; --extra-tables copies it"
# Why nothing of such a kind is carried.
REASONS: Mapping[ItemKind, str] = {
    ItemKind.GENERATED_COLUMN: "its values are computed in the SQL of its engine",
    ItemKind.EXCLUSION: "other engines have none",
    ItemKind.TRIGGER: "it is written in the language of its engine",
    ItemKind.RULE: "other engines have none",
    ItemKind.POLICY: "other engines have none",
    ItemKind.VIEW: "it is a query in the SQL of its engine",
    ItemKind.SEQUENCE: "no column generates its values from it",
    ItemKind.TYPE: "other engines do not have it",
    ItemKind.SCHEMA: "Kallithea is in another schema",
    ItemKind.ROUTINE: "it is written in the language of its engine",
    ItemKind.EVENT: "it is written in the language of its engine",
}
_COLUMNS = (ItemKind.COLUMN, ItemKind.GENERATED_COLUMN, ItemKind.DEFAULT)


@dataclass(frozen=True)
class Choices:
    """What the admin chose: whether tables without a model are copied, and what is left."""

    extra_tables: bool = False
    leave: Sequence[str] = ()


@dataclass(frozen=True)
class Models:
    """The tables of the models, and those `internal` ones that migrations write themselves."""

    tables: Mapping[str, Described]
    internal: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] = field(init=False)

    def __post_init__(self) -> None:
        """Read the names of the columns."""
        columns = {
            name: [shape.name for shape in table.columns] for name, table in self.tables.items()
        }
        object.__setattr__(self, "columns", columns)


class _Judged(NamedTuple):
    """An item, and whether it is the admin's own, so that it can be left."""

    item: Item
    own: bool


def has_any_table(found: Iterable[Found], models: Models) -> bool:
    """Whether there is a table of the models at all."""
    return any(thing.kind is ItemKind.TABLE and thing.name in models.tables for thing in found)


def require_present(found: Sequence[Found], models: Models, folds_case: bool) -> None:
    """Raise Refused where a table or a column of the models is not in the source."""
    for thing in found:
        if thing.name in models.tables and not thing.table:
            odd = "it is a view" if thing.kind is ItemKind.VIEW else thing.special
            if odd and odd != "it is partitioned":
                raise Refused(
                    f"{thing.name} in the source cannot be migrated, because {odd}, and Kallithea "
                    "has an ordinary table there; restore that table first"
                )
    lacked = lacking(found, models.columns, folds_case)
    if lacked:
        raise Refused(
            f"the source lacks what Kallithea's models have: {', '.join(lacked)}; restore it first"
        )


def lacking(
    found: Iterable[Found], columns: Mapping[str, Iterable[str]], folds_case: bool
) -> list[str]:
    """Return the tables that were not found; where all were, the columns that were not."""
    found = list(found)
    tables = {thing.name for thing in found if thing.kind is ItemKind.TABLE and not thing.table}
    present = {
        (thing.table, _folded(thing.name, folds_case))
        for thing in found
        if thing.kind in (ItemKind.COLUMN, ItemKind.GENERATED_COLUMN)
    }
    return sorted(set(columns) - tables) or sorted(
        f"{table}.{name}"
        for table, names in columns.items()
        for name in names
        if (table, _folded(name, folds_case)) not in present
    )


def _folded(name: str, folds_case: bool) -> str:
    return name.casefold() if folds_case else name


def fates(
    found: Sequence[Found],
    models: Models,
    choices: Choices,
    obstacles: Sequence[Obstacle] = (),
) -> list[Item]:
    """Return what becomes of each thing; `obstacles` is what the target cannot have."""
    internal = {thing.name for thing in found if thing.kind is ItemKind.TABLE and thing.internal}
    internal.update(models.internal)
    first = [_judged(thing, models, choices, internal) for thing in found]
    first += [_obstructed(obstacle) for obstacle in _unlisted(found, obstacles)]
    reasons = {(item.kind, item.table, item.name): item.reason for item in obstacles}
    judged = [_left(_hindered(one, reasons), choices.leave) for one in first]
    return _dependent(found, [item for item, _ in judged])


def _judged(thing: Found, models: Models, choices: Choices, internal: AbstractSet[str]) -> _Judged:
    item = Item(thing.kind, thing.table, thing.name, Fate.CARRIED)
    name = thing.name if thing.kind is ItemKind.TABLE else thing.table
    if thing.internal or name in internal:
        return _Judged(dataclasses.replace(item, fate=Fate.INTERNAL), False)
    if thing.kind is ItemKind.TABLE:
        return _table(thing, item, models, choices)
    if _is_of_models(thing, models):
        carried = thing.kind in (ItemKind.COLUMN, ItemKind.GENERATED_COLUMN, ItemKind.SEQUENCE)
        fate = Fate.CARRIED if carried else Fate.FROM_MODELS
        return _Judged(dataclasses.replace(item, fate=fate), False)
    reason = _reason(thing, models)
    fate = Fate.NOT_CARRIED if reason else Fate.CARRIED
    # A sequence goes with the table that owns it.
    own = thing.kind is not ItemKind.SEQUENCE or not thing.table
    return _Judged(dataclasses.replace(item, fate=fate, reason=reason), own)


def _table(thing: Found, item: Item, models: Models, choices: Choices) -> _Judged:
    if thing.name in models.tables:
        return _Judged(item, False)
    reason = thing.special if thing.special != "it is partitioned" else ""
    if not reason and not choices.extra_tables:
        reason = EXTRA
    fate = Fate.NOT_CARRIED if reason else Fate.CARRIED
    return _Judged(dataclasses.replace(item, fate=fate, reason=reason), True)


def _is_of_models(thing: Found, models: Models) -> bool:
    """Whether the models make such a thing in the target anyway."""
    table = models.tables.get(thing.table)
    if table is None:
        return False
    columns = [name.casefold() for name in models.columns[thing.table]]
    if thing.kind in (ItemKind.COLUMN, ItemKind.GENERATED_COLUMN):
        return thing.name.casefold() in columns
    if thing.kind is ItemKind.SEQUENCE:
        return True
    if thing.kind is ItemKind.DEFAULT:
        return thing.text.startswith("nextval(") or thing.text.upper().startswith("NULL")
    if thing.kind is ItemKind.CHECK:
        return _of_boolean(thing.text) in columns
    if thing.kind is ItemKind.FOREIGN_KEY:
        return (thing.columns, thing.refers_to) in table.foreign_keys
    if thing.kind not in (ItemKind.INDEX, ItemKind.UNIQUE):
        return False
    if thing.name in {index.name for index in table.indexes}:
        return True
    alike = {(index.columns, index.unique) for index in table.indexes}
    alike |= {(columns, True) for columns in table.uniques}
    return not thing.special and (thing.columns, thing.unique) in alike


def _of_boolean(check: str) -> str:
    """Return the column that a check lets only be 0 and 1, as SQLAlchemy's booleans do."""
    match = re.fullmatch(
        r"\(*(\w+)\)* in \(0, ?1\)\)*", re.sub(r"[\"`\[\]]", "", check.strip().lower())
    )
    return match.group(1) if match else ""


def _reason(thing: Found, models: Models) -> str:
    """Return why a thing that no model has is not carried; empty where it is."""
    if thing.special:
        return thing.special
    if thing.kind is ItemKind.SEQUENCE and thing.table:
        return ""
    return REASONS.get(thing.kind, "")


def _unlisted(found: Iterable[Found], obstacles: Iterable[Obstacle]) -> list[Obstacle]:
    listed = {(thing.kind, thing.table, thing.name) for thing in found}
    return [item for item in obstacles if (item.kind, item.table, item.name) not in listed]


def _obstructed(obstacle: Obstacle) -> _Judged:
    item = Item(obstacle.kind, obstacle.table, obstacle.name, Fate.NOT_CARRIED, obstacle.reason)
    return _Judged(item, True)


def _hindered(judged: _Judged, reasons: Mapping[tuple[ItemKind, str, str], str]) -> _Judged:
    """Apply what stands in the way in the target."""
    item = judged.item
    reason = reasons.get((item.kind, item.table, item.name), "")
    if not judged.own or item.fate is not Fate.CARRIED or not reason:
        return judged
    return _Judged(dataclasses.replace(item, fate=Fate.NOT_CARRIED, reason=reason), True)


def _left(judged: _Judged, leave: Iterable[str]) -> _Judged:
    """Apply what the admin leaves."""
    item = judged.item
    if not judged.own or not any(_matches(pattern, item) for pattern in leave):
        return judged
    reason = LEFT if item.reason in ("", EXTRA) else item.reason
    left = dataclasses.replace(item, fate=Fate.NOT_CARRIED, reason=reason, accepted=True)
    return _Judged(left, True)


def _matches(pattern: str, item: Item) -> bool:
    # Columns of several tables have the same name.
    alone = () if item.kind in _COLUMNS else (item.name,)
    names = (item.full_name, *alone)
    # A check may have wildcards in its name.
    return pattern in names or any(fnmatch.fnmatchcase(name, pattern) for name in names)


def require_matched(leave: Iterable[str], items: Sequence[Item]) -> None:
    """Raise ConfigError for a name to leave that nothing has which could be left."""
    for pattern in leave:
        if not any(item.accepted and _matches(pattern, item) for item in items):
            raise ConfigError(
                f"--leave: the source has nothing called {pattern} to leave behind; --dry-run "
                "lists what it has"
            )


def _dependent(found: Sequence[Found], items: Sequence[Item]) -> list[Item]:
    """Return the items, with what depends on a table or column that is not carried left as well."""
    things = {(thing.kind, thing.table, thing.name): thing for thing in found}
    lost = {item.full_name: item for item in items if _is_lost_base(item)}
    settled = []
    for item in items:
        thing = things.get((item.kind, item.table, item.name))
        bases = _bases(item, thing) if thing else [item.table]
        base = next((lost[name] for name in bases if name in lost), None)
        if base is not None and item.fate is not Fate.INTERNAL:
            reason = f"{base.full_name} is not carried"
            accepted = item.accepted or base.accepted
            item = dataclasses.replace(
                item, fate=Fate.NOT_CARRIED, reason=reason, accepted=accepted
            )
        settled.append(item)
    return settled


def _is_lost_base(item: Item) -> bool:
    kinds = (ItemKind.TABLE, ItemKind.COLUMN, ItemKind.GENERATED_COLUMN)
    return item.kind in kinds and item.fate is Fate.NOT_CARRIED


def _bases(item: Item, thing: Found) -> list[str]:
    """Return the full names of the table and the columns without which it cannot exist."""
    columns = (thing.name,) if thing.kind is ItemKind.DEFAULT else thing.columns
    return [item.table, thing.refers_to, *(f"{item.table}.{column}" for column in columns)]
