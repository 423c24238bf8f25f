"""The tables of a database as its catalog describes them."""

from __future__ import annotations

from typing import Any

# Everything that CREATE TABLE and CREATE INDEX made in PostgreSQL.
CATALOG = """
    SELECT 'column', table_name, column_name, data_type || ' '
           || coalesce(character_maximum_length::text, '') || ' ' || is_nullable
           || ' ' || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public'
    UNION ALL SELECT 'sequence', sequencename, data_type::text, '' FROM pg_sequences
    ORDER BY 1, 2, 3
"""


def catalog(server: Any, database: str) -> list[tuple[str, str, str, str]]:
    connection = server.connect(database)
    cursor = connection.cursor()
    cursor.execute(CATALOG)
    found = cursor.fetchall()
    connection.close()
    # The journal stays until the switch.
    return [row for row in found if row[1] != "kallithea_tune_journal"]
