"""Moves the database of an ini file to a URL, and switches when all is proven.

usage: migrate.py INI URL
"""

import sys

from kallithea_tune.config import instance
from kallithea_tune.db_migrate import Migration, Options, switch
from kallithea_tune.errors import TuneError


def main(ini, url):
    """Do it."""
    loaded = instance.load(ini)
    with Migration(loaded, url, Options(extra_tables=True)) as migration:
        print("%d rows in %d tables" % (migration.plan.rows, len(migration.plan.tables)))
        migration.check()
        report = migration.run()
        print(
            "copied %d rows, %d differences" % (sum(report.rows.values()), len(report.differences))
        )
        migration.ask_application()
        migration.require_quiet_source()
        backup = switch.carry_out(switch.plan(loaded, url), loaded, url)
        migration.forget()
        print(f"switched; the old ini file is {backup}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TuneError as error:
        sys.exit("%s (exit status %d)" % (error, error.exit_status))
