"""Makes Kallithea's own tables in an empty database, as db-create does, and log rows in them.

usage: schema.py LOG_ROWS, with the database's URL on standard input
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from typing import Any


def create(url: str, log_rows: int = 0) -> str:
    """Do it in a process of its own, since Kallithea's models are global; return the URL."""
    subprocess.run([sys.executable, __file__, str(log_rows)], input=url.encode(), check=True)
    return url


def main() -> None:
    """Create the tables of the URL that standard input gives."""
    import sqlalchemy
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from kallithea.model import db, meta

    engine = sqlalchemy.create_engine(sys.stdin.read())
    meta.Base.metadata.create_all(engine)
    log = db.UserLog.__table__
    now = datetime.datetime.now()
    total = int(sys.argv[1])
    rows: list[dict[str, Any]] = [
        {
            "username": "user",
            "repository_name": "hg-one",
            "user_ip": "192.0.2.1",
            "action": "pull",
            "action_date": now - datetime.timedelta(minutes=10 * (total - number)),
        }
        for number in range(total)
    ]
    migrations = Config()
    migrations.set_main_option("script_location", "kallithea:alembic")
    with engine.begin() as connection:
        MigrationContext.configure(connection).stamp(
            ScriptDirectory.from_config(migrations), "head"
        )
        for start in range(0, total, 1000):
            connection.execute(log.insert().values(rows[start : start + 1000]))


if __name__ == "__main__":
    main()
