"""Where the repositories are: Kallithea keeps their directory in the database, not in the ini
file.
"""

from __future__ import annotations

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.server import explained
from kallithea_tune.system import child


def repositories_root(instance: Instance, seconds: float = 10.0) -> str:
    """Return the directory that holds the repositories, as the row ``paths``, ``/`` of the table
    ``ui`` says.

    Asked in a child, since a database may hang. Raises NotMeasured in one sentence when the
    database does not say, ConfigError when its URL cannot be used. Several checks want it:
    ``context.once("repositories root", ...)``.
    """
    read_only_engine(instance.database_url)
    found: str = child.call(
        "kallithea_tune.perf_check.repositories.root:ask", seconds, url=instance.database_url
    )
    return found


def ask(url: str) -> str:
    """Return the directory from the database of `url`; for a child."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    statement = sqlalchemy.text(
        "SELECT ui_value FROM ui WHERE ui_section = 'paths' AND ui_key = '/'"
    )
    try:
        with read_only_engine(url).connect() as connection:
            found = connection.execute(statement).scalar()
    except SQLAlchemyError as error:
        raise NotMeasured(
            f"where the repositories are is not known: {explained(error, url)}"
        ) from None
    if not found:
        raise NotMeasured(
            "where the repositories are is not known: no row 'paths', '/' in the table ui"
        )
    return str(found)
