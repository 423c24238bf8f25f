"""What a PostgreSQL database contains, from pg_catalog."""

from __future__ import annotations

from typing import Iterator

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.catalog import Found
from kallithea_tune.db_migrate.inventory.items import ItemKind

OF_EXTENSION = """EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = {0}.oid
    AND d.classid = '{1}'::regclass AND d.deptype = 'e')"""
OWN = "relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
RELATIONS = f"""
    SELECT c.relname AS name, c.relkind::text AS kind, coalesce(o.relname, '') AS owner,
           coalesce(a.attname, '') AS "column", c.relispartition AS part,
           {OF_EXTENSION.format("c", "pg_class")} AS internal
    FROM pg_class AS c
    LEFT JOIN pg_depend AS d ON c.relkind = 'S' AND d.objid = c.oid AND d.deptype IN ('a', 'i')
        AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    LEFT JOIN pg_class AS o ON o.oid = d.refobjid
    LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE c.{OWN} AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') ORDER BY 1
"""
COLUMNS = f"""
    SELECT c.relname AS "table", a.attname AS "column", to_jsonb(a) ->> 'attgenerated' AS generated,
           pg_get_expr(d.adbin, d.adrelid) AS "default"
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.{OWN} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
INDEXES = f"""
    SELECT c.relname AS "table", n.relname AS name, i.indisunique AS "unique",
           ARRAY(SELECT coalesce(a.attname::text, '')
                 FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
                 LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                 ORDER BY k.place) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey, i.indoption) AS k (attnum, option)
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                 WHERE k.option = 3) AS descending,
           CASE WHEN NOT i.indisvalid THEN 'it is invalid'
                WHEN i.indpred IS NOT NULL THEN 'it has a condition'
                WHEN i.indexprs IS NOT NULL THEN 'it is on an expression'
                WHEN m.amname <> 'btree' THEN 'it is a ' || m.amname || ' index'
                WHEN to_jsonb(i) ->> 'indnkeyatts' <> i.indnatts::text THEN 'it includes columns'
                WHEN 't' IN (to_jsonb(i) ->> 'indnullsnotdistinct') THEN 'its nulls are equal'
                WHEN EXISTS (SELECT 1 FROM unnest(i.indoption) AS o WHERE o NOT IN (0, 3))
                    THEN 'it has an order of nulls'
                WHEN EXISTS (SELECT 1 FROM unnest(i.indclass) AS u JOIN pg_opclass AS o
                             ON o.oid = u WHERE NOT o.opcdefault) THEN 'it has an operator class'
                ELSE '' END AS special
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
    JOIN pg_class AS n ON n.oid = i.indexrelid JOIN pg_am AS m ON m.oid = n.relam
    WHERE c.{OWN} AND c.relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT 1 FROM pg_constraint AS k
                        WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    ORDER BY 1, 2
"""
CONSTRAINTS = f"""
    SELECT c.relname AS "table", k.conname AS name, k.contype::text AS kind,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = u.attnum
                 ORDER BY u.place) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
                 JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = u.attnum
                 ORDER BY u.place) AS "to",
           coalesce(r.relname, '') AS referred, k.confdeltype::text AS on_delete,
           k.confupdtype::text AS on_update,
           CASE WHEN k.condeferrable THEN 'it is deferrable'
                WHEN k.contype = 'f' AND k.confmatchtype = 'f' THEN 'it matches all columns'
                WHEN k.contype = 'f' AND r.relnamespace <> c.relnamespace
                THEN 'it refers to another schema' ELSE '' END AS special,
           coalesce(pg_get_expr(k.conbin, k.conrelid), '') AS text
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    LEFT JOIN pg_class AS r ON r.oid = k.confrelid
    WHERE c.{OWN} AND k.contype IN ('u', 'f', 'c', 'x') ORDER BY 1, 2
"""
OF_TABLES = f"""
    SELECT 'TRIGGER' AS kind, c.relname AS "table", t.tgname AS name FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid WHERE c.{OWN} AND NOT t.tgisinternal
    UNION ALL SELECT 'RULE', c.relname, r.rulename FROM pg_rewrite AS r
    JOIN pg_class AS c ON c.oid = r.ev_class WHERE c.{OWN} AND r.rulename <> '_RETURN'
    UNION ALL SELECT 'POLICY', c.relname, p.polname FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid WHERE c.{OWN} ORDER BY 1, 2, 3
"""
OTHERS = f"""
    SELECT 'TYPE' AS kind, n.nspname AS schema, t.typname AS name,
           {OF_EXTENSION.format("t", "pg_type")} AS internal
    FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c'
    UNION ALL SELECT 'ROUTINE', n.nspname, p.proname, {OF_EXTENSION.format("p", "pg_proc")}
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    UNION ALL SELECT CASE WHEN c.relkind IN ('v', 'm') THEN 'VIEW' ELSE 'SCHEMA' END,
        n.nspname, c.relname, {OF_EXTENSION.format("c", "pg_class")}
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND n.nspname <> current_schema()
    UNION ALL SELECT 'EXTENSION', '', extname, TRUE FROM pg_extension
"""
WITHOUT_SYSTEM = """
    SELECT DISTINCT * FROM ({}) AS o WHERE schema <> 'information_schema'
        AND schema NOT LIKE 'pg\\_%' ORDER BY 1, 2, 3
""".format(OTHERS)
KINDS = {
    "v": (ItemKind.VIEW, ""),
    "m": (ItemKind.VIEW, "it is materialised"),
    "f": (ItemKind.TABLE, "it is a foreign table"),
    "p": (ItemKind.TABLE, "it is partitioned"),
    "r": (ItemKind.TABLE, ""),
}
CONSTRAINT_KINDS = {
    "u": ItemKind.UNIQUE,
    "f": ItemKind.FOREIGN_KEY,
    "c": ItemKind.CHECK,
    "x": ItemKind.EXCLUSION,
}

ACTIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


class Catalog(base.Catalog):
    """Reads pg_catalog with one statement for each kind of thing."""

    def found(self) -> list[Found]:
        """Return everything in the database but its rows."""
        return [
            *self._relations(),
            *self._columns(),
            *self._keys(),
            *self._others(),
        ]

    def _relations(self) -> Iterator[Found]:
        for row in self._rows(RELATIONS):
            internal, name = bool(row["internal"]), str(row["name"])
            if row["kind"] == "S":
                owner, column = str(row["owner"]), str(row["column"])
                columns = (column,) if column else ()
                yield Found(ItemKind.SEQUENCE, owner, name, columns, internal=internal)
                continue
            kind, special = KINDS[str(row["kind"])]
            # The rows of a part come with those of the partitioned table.
            yield Found(kind, "", name, special=special, internal=internal or bool(row["part"]))

    def _columns(self) -> Iterator[Found]:
        for row in self._rows(COLUMNS):
            table, name, generated = str(row["table"]), str(row["column"]), bool(row["generated"])
            kind = ItemKind.GENERATED_COLUMN if generated else ItemKind.COLUMN
            yield Found(kind, table, name)
            if row["default"] is not None and not generated:
                yield Found(ItemKind.DEFAULT, table, name, text=str(row["default"]))

    def _keys(self) -> Iterator[Found]:
        for row in self._rows(INDEXES):
            yield Found(
                ItemKind.INDEX,
                str(row["table"]),
                str(row["name"]),
                _names(row["columns"]),
                bool(row["unique"]),
                _names(row["descending"]),
                special=str(row["special"]),
            )
        for row in self._rows(CONSTRAINTS):
            yield Found(
                CONSTRAINT_KINDS[str(row["kind"])],
                str(row["table"]),
                str(row["name"]),
                _names(row["columns"]),
                row["kind"] == "u",
                refers_to=str(row["referred"]),
                refers_to_columns=_names(row["to"]),
                on_delete=ACTIONS.get(str(row["on_delete"]), ""),
                on_update=ACTIONS.get(str(row["on_update"]), ""),
                text=str(row["text"]),
                special=str(row["special"]),
            )

    def _others(self) -> Iterator[Found]:
        for row in self._rows(OF_TABLES):
            yield Found(ItemKind[str(row["kind"])], str(row["table"]), str(row["name"]))
        own = str(self._rows("SELECT current_schema() AS name")[0]["name"])
        for row in self._rows(WITHOUT_SYSTEM):
            schema = "" if row["schema"] == own else str(row["schema"])
            internal = bool(row["internal"])
            yield Found(ItemKind[str(row["kind"])], schema, str(row["name"]), internal=internal)


def _names(array: object) -> tuple[str, ...]:
    assert isinstance(array, list)
    return tuple(map(str, array))
