"""Prints docs/db-migrate-settings.rst: what db-migrate sets for its sessions, and why.

usage: settings_table.py > docs/db-migrate-settings.rst

A test holds the page against this.
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

A database, a role, a server, ``init_connect`` or an option of the URL may set how values look,
which rows are seen and how long a statement may take. db-migrate sets what follows for each of its
own connections, after all of these; nobody else's are changed.

These are left as they are: PostgreSQL's ``search_path``, by which Kallithea finds its tables, and
``default_transaction_read_only`` and ``tx_read_only`` of a target, by which somebody protects it.

A locked table or file is reported within the seconds given below, with the process that holds the
lock where that can be known. A connection whose other end vanishes without a word (a machine that
lost its power, a firewall that forgot the connection) breaks off after a minute. A server that
keeps its connections and answers nothing, such as a stopped process, is waited for; Ctrl-C ends
that within seconds.
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
