"""Where the repositories are: Kallithea keeps their directory in the database, not in the ini
file.
"""

from __future__ import annotations

from dataclasses import dataclass

from kallithea_tune.app import directories
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

QUERY_SECONDS = 10.0


@dataclass(frozen=True)
class RepositoriesRoot:
    """The directory that contains the repositories."""

    path: str

    @property
    def examined(self) -> Examined:
        """The one directory."""
        return Examined(1, 1, "directory")


@measurement(needs=("database",))
def repositories_root(context: Context) -> RepositoriesRoot:
    """Read the directory of the repositories from the row ``paths``, ``/`` of the table ``ui``.

    The query runs in a child process, since a database may hang. Raises NotMeasured in one sentence
    when it fails or there is no such row, ConfigError when the URL of the database is unusable.
    """
    read_only_engine(context.instance.database_url)
    return RepositoriesRoot(
        child.call(root_in_database, QUERY_SECONDS, url=context.instance.database_url)
    )


def root_in_database(url: str) -> str:
    """Return the directory that the database at `url` has; for a child process."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        path = directories.repositories_root(url)
    except SQLAlchemyError as error:
        raise NotMeasured(
            f"the directory of the repositories is unknown: {failure_reason(error, url)}"
        ) from None
    if not path:
        raise NotMeasured(
            "the directory of the repositories is unknown: the table ui has no row 'paths', '/'"
        )
    return path
