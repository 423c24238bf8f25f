"""What a SQLite file contains, from sqlite_master and pragmas."""

from __future__ import annotations

import re
import sqlite3
from typing import Iterator

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.catalog import Found, checks_of, grouped, unnamed
from kallithea_tune.db_migrate.inventory.items import ItemKind

VIRTUAL = re.compile(r"CREATE\s+VIRTUAL\s+TABLE", re.IGNORECASE)
# The suffixes that SQLite's own modules use: fts3 to fts5, and rtree.
# https://www.sqlite.org/vtab.html, section 2.1.4
SHADOWS = (
    *("content", "segments", "segdir", "docsize", "stat"),
    *("data", "idx", "config", "node", "parent", "rowid"),
)
# Tables without a model of a virtual table, whose pragmas need the module.
ORDINARY = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE%'"
HIDDEN = 1  # https://www.sqlite.org/pragma.html#pragma_table_xinfo: 2 and 3 are generated
INDEXES = f"""
    SELECT t.name AS "table", i.name AS "index", i."unique", i.origin, i.partial,
           c.name AS "column", c.cid, c."desc", c.coll
    FROM ({ORDINARY}) AS t, pragma_index_list(t.name) AS i, pragma_index_xinfo(i.name) AS c
    WHERE c."key" AND i.origin <> 'pk' ORDER BY t.name, i.name, c.seqno
"""
REFERENCES = f"""
    SELECT t.name AS "table", f.id, f."table" AS referred, f."from" AS "column",
           f."to" AS "to", f.on_delete, f.on_update
    FROM ({ORDINARY}) AS t, pragma_foreign_key_list(t.name) AS f ORDER BY t.name, f.id, f.seq
"""
COLUMNS = f"""
    SELECT t.name AS "table", c.name AS "column", c.dflt_value, c.hidden
    FROM ({ORDINARY}) AS t, pragma_table_xinfo(t.name) AS c ORDER BY t.name, c.cid
"""


class Catalog(base.Catalog):
    """Reads pragmas as tables."""

    folds_case = True

    def found(self) -> list[Found]:
        """Return everything in the file but its rows."""
        return [
            *self._master(),
            *self._columns(),
            *self._indexes(),
            *self._references(),
            *self._checks(),
        ]

    def _master(self) -> Iterator[Found]:
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
        rows = self._rows(query)
        virtual = {str(row["name"]) for row in rows if VIRTUAL.match(str(row["sql"]))}
        for row in rows:
            name = str(row["name"])
            owner = next((base for base in virtual if _is_shadow(name, base)), "")
            internal = name.startswith("sqlite_")
            special = "it is a virtual table" if name in virtual else ""
            special = f"it holds the data of the virtual table {owner}" if owner else special
            if row["type"] == "table":
                yield Found(ItemKind.TABLE, owner, name, special=special, internal=internal)
            elif row["type"] == "view":
                yield Found(ItemKind.VIEW, "", name)
            elif row["type"] == "trigger":
                yield Found(ItemKind.TRIGGER, str(row["tbl_name"]), name)

    def _columns(self) -> Iterator[Found]:
        try:
            rows = self._rows(COLUMNS)
        except sqlite3.OperationalError:  # before SQLite 3.26, which has no generated columns
            rows = self._rows(COLUMNS.replace("table_xinfo", "table_info").replace("c.hidden", "0"))
        for row in rows:
            table, name = str(row["table"]), str(row["column"])
            generated = int(str(row.get("hidden", 0))) > HIDDEN
            yield Found(ItemKind.GENERATED_COLUMN if generated else ItemKind.COLUMN, table, name)
            if row["dflt_value"] is not None and not generated:
                yield Found(ItemKind.DEFAULT, table, name, text=str(row["dflt_value"]))

    def _indexes(self) -> Iterator[Found]:
        for (table, name, unique, origin, partial), rows in grouped(
            self._rows(INDEXES), ("table", "index", "unique", "origin", "partial")
        ).items():
            columns = tuple(str(row["column"] or "") for row in rows)
            if origin == "u":
                yield Found(ItemKind.UNIQUE, str(table), unnamed("UNIQUE", columns), columns, True)
                continue
            special = "it is on an expression" if not all(columns) else ""
            special = "it has a condition" if partial else special
            if any(row["coll"] != "BINARY" for row in rows) and not special:
                special = "it has a collation"
            descending = tuple(str(row["column"]) for row in rows if row["desc"])
            yield Found(
                ItemKind.INDEX,
                str(table),
                str(name),
                columns,
                bool(unique),
                descending,
                special=special,
            )

    def _references(self) -> Iterator[Found]:
        for (table, _, referred), rows in grouped(
            self._rows(REFERENCES), ("table", "id", "referred")
        ).items():
            columns = tuple(str(row["column"]) for row in rows)
            name = unnamed("FOREIGN KEY", columns)
            to = tuple(str(row["to"]) for row in rows if row["to"])
            if not to:
                to = self._primary_key(str(referred))
            yield Found(
                ItemKind.FOREIGN_KEY,
                str(table),
                name,
                columns,
                refers_to=str(referred),
                refers_to_columns=to,
                on_delete=_action(rows[0]["on_delete"]),
                on_update=_action(rows[0]["on_update"]),
            )

    def _primary_key(self, table: str) -> tuple[str, ...]:
        query = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
        return tuple(row[0] for row in self.cursor().execute(query, [table]))

    def _checks(self) -> Iterator[Found]:
        for row in self._rows(ORDINARY):
            for name, text in checks_of(str(row["sql"])):
                yield Found(ItemKind.CHECK, str(row["name"]), name or text, text=text)


def _action(action: object) -> str:
    return "" if action == "NO ACTION" else str(action)


def _is_shadow(name: str, virtual: str) -> bool:
    return name.startswith(f"{virtual}_") and name[len(virtual) + 1 :] in SHADOWS
