"""Prints docs/db-migrate-settings.rst: what db-migrate sets for its sessions, and why.

usage: settings_table.py > docs/db-migrate-settings.rst

A test compares the page with this.
"""

from __future__ import annotations

from typing import Iterator, Sequence

from kallithea_tune.db_migrate.engines import engine_class
from kallithea_tune.db_migrate.engines.base import Setting

ENGINES = {"PostgreSQL": "postgresql", "MariaDB and MySQL": "mysql", "SQLite": "sqlite"}
HEAD = """\
========================
Settings of the sessions
========================

A database, a role, a server, ``init_connect`` or a URL option may determine how values look,
which rows are visible and how long a statement may take. db-migrate overrides all of these with the
following settings, for each of its own connections and no others.

These are left as they are: PostgreSQL's ``search_path``, which Kallithea uses to find its tables,
and a target's ``default_transaction_read_only`` and ``tx_read_only``, which protect it on purpose.

A locked table or file is reported within the number of seconds given below, with the process that
holds the lock if it can be determined. A connection whose other end vanishes silently (a machine
that lost power, a firewall that forgot the connection) is closed after a minute. If a server keeps
its connections but does not answer, such as a stopped process, db-migrate waits for it; Ctrl-C
ends that within seconds.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(map(_engine, ENGINES))


def _engine(name: str) -> str:
    settings = engine_class(ENGINES[name]).settings
    lines = ["", name, "=" * len(name), ""]
    for title, group in (
        ("Both ends", settings.session),
        ("The source", settings.source_session),
        ("The target", settings.target_session),
    ):
        lines += [title + ":", "", *_table(group), ""]
    return "\n".join(lines)


def _table(settings: Sequence[Setting]) -> Iterator[str]:
    yield from (".. list-table::", "   :widths: 55 45", "")
    for statement, reason in settings:
        yield from (f"   * - ``{statement}``", f"     - {reason}")


if __name__ == "__main__":
    print(page(), end="")
