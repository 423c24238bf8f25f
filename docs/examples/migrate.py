"""Moves the database of an ini file to a URL, and switches once everything is proven.

usage: migrate.py INI URL
"""

import sys

from kallithea_tune.config import instance
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.errors import TuneError


def main(ini: str, url: str) -> None:
    """Migrate and switch."""
    with Migration(instance.load(ini), url, Options(extra_tables=True)) as migration:
        print(f"{migration.plan.rows} rows in {len(migration.plan.tables)} tables")
        migration.check()
        result = migration.run()
        print(f"copied {sum(result.rows.values())} rows, {len(result.differences)} differences")
        migration.cutover.compare_pages()
        migration.cutover.require_unchanged_source()
        backup = migration.cutover.switch(migration.cutover.plan_switch())
        print(f"switched; the old ini file is {backup}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TuneError as error:
        sys.exit(f"{error} (exit status {error.exit_status})")
