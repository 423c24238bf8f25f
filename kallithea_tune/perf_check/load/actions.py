"""What the log of actions says about the load: which repositories are pulled from, and how often.

``user_logs`` has pulls and pushes with repository and date, and no page views.
"""

from __future__ import annotations

import collections

from kallithea_tune.app.directories import repositories_root
from kallithea_tune.app.repositories import CANDIDATES, CHECK_SECONDS, first_usable
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.perf_check.load.mix import Mix, mix_of
from kallithea_tune.system import child

# The table has no index but that of its primary key, by which the newest rows are found at once.
NEWEST_ROWS = 20000
_PULLS = (
    "SELECT repositories.repo_type, repositories.repo_name, COUNT(*) FROM "
    "(SELECT repository_id, action FROM user_logs ORDER BY user_log_id DESC LIMIT :rows) newest "
    "JOIN repositories ON repositories.repo_id = newest.repository_id "
    "WHERE newest.action = 'pull' GROUP BY repositories.repo_type, repositories.repo_name"
)
_PUBLIC = (
    "SELECT repo_type, repo_name FROM repositories WHERE repo_state = 'repo_state_created' "
    "AND NOT private ORDER BY updated_on DESC"
)


def mix_of_instance(instance: Instance) -> Mix:
    """Return the mix for the public repositories that are pulled from most, one of each type.

    Clones by type are as in the newest `NEWEST_ROWS` actions; without pulls all shares are assumed,
    and the repositories are those that changed last. Raises SQLAlchemyError, and NotMeasured where
    the disk does not answer.
    """
    import sqlalchemy

    with read_only_engine(instance.database_url).connect() as connection:
        rows = connection.execute(sqlalchemy.text(_PULLS), {"rows": NEWEST_ROWS}).fetchall()
        public = connection.execute(sqlalchemy.text(_PUBLIC)).fetchall()
    counts = {(str(kind), str(name)): int(count) for kind, name, count in rows}
    pulls: collections.Counter[str] = collections.Counter()
    for (kind, _), count in counts.items():
        pulls[kind] += count
    candidates: dict[str, list[str]] = {}
    # Sorting is stable: without pulls, what changed last stays first.
    for kind, name in sorted(public, key=lambda row: -counts.get((row[0], row[1]), 0)):
        candidates.setdefault(kind, []).append(name)
    if not candidates:
        return mix_of({})
    usable = child.call(
        first_usable,
        CHECK_SECONDS,
        root=repositories_root(instance.database_url),
        candidates={kind: names[:CANDIDATES] for kind, names in candidates.items()},
    )
    return mix_of(usable, pulls)
