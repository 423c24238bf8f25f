"""What a database contains, as its catalog lists it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Iterable, Iterator, Mapping, Sequence

from kallithea_tune.db_migrate.engines.base.connection import Connected
from kallithea_tune.db_migrate.inventory.items import ItemKind

if TYPE_CHECKING:
    from sqlalchemy.engine.reflection import Inspector


_NAMED = re.compile(r"""\bCONSTRAINT\s+("[^"]+"|`[^`]+`|\[[^\]]+\]|\S+)\s+$""", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A thing in a database; `table` is empty where it belongs to none.

    `columns` are those of an index or key, some of them `descending`; a foreign key `refers_to` a
    table and its `refers_to_columns`, with actions as in SQL. `text` is the expression of a default
    or check. `special` says what other engines may not have of it, and `internal` that the engine,
    or one of its extensions, made it for itself.
    """

    kind: ItemKind
    table: str
    name: str
    columns: tuple[str, ...] = ()
    unique: bool = False
    descending: tuple[str, ...] = ()
    refers_to: str = ""
    refers_to_columns: tuple[str, ...] = ()
    on_delete: str = ""
    on_update: str = ""
    text: str = ""
    special: str = ""
    internal: bool = False


class Catalog(Connected):
    """Lists everything in the database; other engines' read their own catalogs."""

    folds_case: ClassVar[bool] = False
    """Whether names of columns that differ only in case are the same."""

    def found(self) -> list[Found]:
        """Return everything in the database but its rows."""
        import sqlalchemy

        inspector = sqlalchemy.inspect(self.connection)
        found = [Found(ItemKind.VIEW, "", name) for name in inspector.get_view_names()]
        for table in inspector.get_table_names():
            found.append(Found(ItemKind.TABLE, "", table))
            found += self._of_table(inspector, table)
        return found

    def _of_table(self, inspector: Inspector, table: str) -> Iterator[Found]:
        for column in inspector.get_columns(table):
            generated = bool(column.get("computed"))
            kind = ItemKind.GENERATED_COLUMN if generated else ItemKind.COLUMN
            yield Found(kind, table, column["name"])
            if column.get("default") is not None and not generated:
                yield Found(ItemKind.DEFAULT, table, column["name"], text=str(column["default"]))
        for index in inspector.get_indexes(table):
            columns = tuple(index["column_names"])
            special = "" if all(columns) else "it is on an expression"
            unique = bool(index["unique"])
            yield Found(ItemKind.INDEX, table, index["name"], columns, unique, special=special)
        for key in inspector.get_unique_constraints(table):
            columns = tuple(key["column_names"])
            yield Found(
                ItemKind.UNIQUE, table, key["name"] or unnamed("UNIQUE", columns), columns, True
            )
        for reference in inspector.get_foreign_keys(table):
            columns = tuple(reference["constrained_columns"])
            name, referred = (
                reference["name"] or unnamed("FOREIGN KEY", columns),
                reference["referred_table"],
            )
            yield Found(
                ItemKind.FOREIGN_KEY,
                table,
                name,
                columns,
                refers_to=referred,
                refers_to_columns=tuple(reference["referred_columns"]),
                on_delete=reference.get("options", {}).get("ondelete", ""),
                on_update=reference.get("options", {}).get("onupdate", ""),
            )
        try:
            checks = inspector.get_check_constraints(table)
        except NotImplementedError:
            return
        for check in checks:
            text = str(check["sqltext"])
            yield Found(ItemKind.CHECK, table, check["name"] or text, text=text)

    def _rows(self, query: str) -> list[Mapping[str, object]]:
        """Return what a query without arguments finds, by the names of its columns."""
        cursor = self.cursor()
        cursor.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def grouped(
    rows: Iterable[Mapping[str, object]], by: Sequence[str]
) -> dict[tuple[object, ...], list[Mapping[str, object]]]:
    """Return rows by the values of the columns `by`, in their order."""
    groups: dict[tuple[object, ...], list[Mapping[str, object]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    return groups


def unnamed(kind: str, columns: Sequence[str]) -> str:
    """Return a name for a key without one, other than that of its column."""
    return f"{kind} ({', '.join(columns)})"


def checks_of(statement: str) -> list[tuple[str, str]]:
    """Return name and expression of each CHECK in a CREATE TABLE; the name may be empty."""
    blank = _without_literals(statement)
    found = []
    for match in re.finditer(r"\bCHECK\s*\(", blank, re.IGNORECASE):
        depth, end = 1, match.end()
        while depth and end < len(blank):
            depth += {"(": 1, ")": -1}.get(blank[end], 0)
            end += 1
        named = _NAMED.search(statement[: match.start()])
        name = named.group(1).strip("\"`[]'") if named else ""
        found.append((name, statement[match.end() : end - 1].strip()))
    return found


def _without_literals(statement: str) -> str:
    """Return SQL of the same length, with strings, quoted names and comments made blank."""
    pattern = r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/"""
    return re.sub(pattern, lambda match: "_" * len(match.group()), statement, flags=re.DOTALL)
