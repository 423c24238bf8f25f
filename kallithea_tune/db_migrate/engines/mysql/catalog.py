"""What a MariaDB or MySQL database contains, from information_schema."""

from __future__ import annotations

from typing import Iterator

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.catalog import Found, grouped
from kallithea_tune.db_migrate.inventory.items import ItemKind

SCHEMA = "information_schema"
TABLES = f"""
    SELECT TABLE_NAME AS name, TABLE_TYPE AS kind FROM {SCHEMA}.TABLES
    WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1
"""
COLUMNS = f"""
    SELECT c.TABLE_NAME AS `table`, c.COLUMN_NAME AS name, c.COLUMN_DEFAULT AS `default`,
           c.EXTRA AS extra, c.DATA_TYPE AS type
    FROM {SCHEMA}.COLUMNS AS c WHERE c.TABLE_SCHEMA = DATABASE()
    ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION
"""
INDEXES = f"""
    SELECT TABLE_NAME AS `table`, INDEX_NAME AS name, NON_UNIQUE AS plain, INDEX_TYPE AS type,
           COLUMN_NAME AS `column`, SUB_PART AS part, COLLATION AS direction
    FROM {SCHEMA}.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME <> 'PRIMARY'
    ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""
REFERENCES = f"""
    SELECT k.TABLE_NAME AS `table`, k.CONSTRAINT_NAME AS name, k.COLUMN_NAME AS `column`,
           k.REFERENCED_TABLE_NAME AS referred, k.REFERENCED_COLUMN_NAME AS `to`,
           r.DELETE_RULE AS on_delete, r.UPDATE_RULE AS on_update
    FROM {SCHEMA}.KEY_COLUMN_USAGE AS k JOIN {SCHEMA}.REFERENTIAL_CONSTRAINTS AS r
        ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
            AND r.TABLE_NAME = k.TABLE_NAME
    WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL
    ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""
HAS_CHECKS = f"""
    SELECT COLUMN_NAME AS name FROM {SCHEMA}.COLUMNS
    WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = 'CHECK_CONSTRAINTS'
"""
MARIADB_CHECKS = f"""
    SELECT TABLE_NAME AS `table`, CONSTRAINT_NAME AS name, CHECK_CLAUSE AS text
    FROM {SCHEMA}.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() ORDER BY 1, 2
"""
MYSQL_CHECKS = f"""
    SELECT t.TABLE_NAME AS `table`, c.CONSTRAINT_NAME AS name, c.CHECK_CLAUSE AS text
    FROM {SCHEMA}.CHECK_CONSTRAINTS AS c JOIN {SCHEMA}.TABLE_CONSTRAINTS AS t
        ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
    WHERE c.CONSTRAINT_SCHEMA = DATABASE() ORDER BY 1, 2
"""
OTHERS = f"""
    SELECT 'TRIGGER' AS kind, EVENT_OBJECT_TABLE AS `table`, TRIGGER_NAME AS name
    FROM {SCHEMA}.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
    UNION ALL SELECT 'ROUTINE', '', ROUTINE_NAME FROM {SCHEMA}.ROUTINES
    WHERE ROUTINE_SCHEMA = DATABASE()
    UNION ALL SELECT 'EVENT', '', EVENT_NAME FROM {SCHEMA}.EVENTS WHERE EVENT_SCHEMA = DATABASE()
    ORDER BY 1, 2, 3
"""
KINDS = {
    "BASE TABLE": (ItemKind.TABLE, ""),
    "SYSTEM VERSIONED": (ItemKind.TABLE, "it is system-versioned"),
    "SEQUENCE": (ItemKind.SEQUENCE, ""),
    "VIEW": (ItemKind.VIEW, ""),
}
# RESTRICT is what the others do without an action, too.
ACTIONS = {"CASCADE": "CASCADE", "SET NULL": "SET NULL"}
STRINGS = ("char", "varchar", "text", "tinytext", "mediumtext", "longtext")


class Catalog(base.Catalog):
    """Reads information_schema with one statement for each kind of thing."""

    folds_case = True

    def found(self) -> list[Found]:
        """Return everything in the database but its rows."""
        return [
            *self._tables(),
            *self._columns(),
            *self._keys(),
            *self._checks(),
            *self._others(),
        ]

    def _tables(self) -> Iterator[Found]:
        for row in self._rows(TABLES):
            kind, special = KINDS.get(str(row["kind"]), (ItemKind.TABLE, "it is not a base table"))
            yield Found(kind, "", str(row["name"]), special=special)

    def _columns(self) -> Iterator[Found]:
        is_mariadb = getattr(self.connection.dialect, "_is_mariadb", False)
        for row in self._rows(COLUMNS):
            table, name, extra = str(row["table"]), str(row["name"]), str(row["extra"]).upper()
            # MySQL 8 has DEFAULT_GENERATED for defaults that are expressions.
            generated = extra.endswith(" GENERATED") or extra.endswith(" GENERATED INVISIBLE")
            kind = ItemKind.GENERATED_COLUMN if generated else ItemKind.COLUMN
            yield Found(kind, table, name)
            default = row["default"]
            if default is None or default == "NULL" or generated:
                continue
            text = str(default)
            if "ON UPDATE" in extra:
                text += " ON UPDATE"
            if not is_mariadb and row["type"] in STRINGS and "DEFAULT_GENERATED" not in extra:
                text = "'{}'".format(text.replace("'", "''"))
            yield Found(ItemKind.DEFAULT, table, name, text=text)

    def _keys(self) -> Iterator[Found]:
        references = grouped(self._rows(REFERENCES), ("table", "name", "referred"))
        for (table, name, referred), rows in references.items():
            columns = tuple(str(row["column"]) for row in rows)
            yield Found(
                ItemKind.FOREIGN_KEY,
                str(table),
                str(name),
                columns,
                refers_to=str(referred),
                refers_to_columns=tuple(str(row["to"]) for row in rows),
                on_delete=ACTIONS.get(str(rows[0]["on_delete"]), ""),
                on_update=ACTIONS.get(str(rows[0]["on_update"]), ""),
            )
        # By the name of the key, or of its first column where the key was given none.
        implicit = {(table, name) for table, name, _ in references}
        implicit |= {(table, rows[0]["column"]) for (table, _, _), rows in references.items()}
        for (table, name, plain, kind), rows in grouped(
            self._rows(INDEXES), ("table", "name", "plain", "type")
        ).items():
            columns = tuple(str(row["column"] or "") for row in rows)
            special = "" if all(columns) else "it is on an expression"
            special = "it is on prefixes" if any(row["part"] for row in rows) else special
            descending = tuple(str(row["column"]) for row in rows if row["direction"] == "D")
            if kind != "BTREE":
                special = f"it is a {kind} index"
            # Made for the foreign key by the server itself.
            internal = (table, name) in implicit
            yield Found(
                ItemKind.INDEX,
                str(table),
                str(name),
                columns,
                not int(str(plain)),
                descending,
                special=special,
                internal=internal,
            )

    def _checks(self) -> Iterator[Found]:
        described = {str(row["name"]).upper() for row in self._rows(HAS_CHECKS)}
        if not described:
            return
        query = MARIADB_CHECKS if "TABLE_NAME" in described else MYSQL_CHECKS
        for row in self._rows(query):
            text = str(row["text"])
            yield Found(ItemKind.CHECK, str(row["table"]), str(row["name"]), text=text)

    def _others(self) -> Iterator[Found]:
        for row in self._rows(OTHERS):
            yield Found(ItemKind[str(row["kind"])], str(row["table"]), str(row["name"]))
