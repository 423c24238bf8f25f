"""Who makes the requests: as the access log says, else guessed from the log of actions."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.perf_check.load import access_log
from kallithea_tune.perf_check.load.access_log import AccessLog
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system.account import as_invoker

# The primary key finds them at once, and nothing else of the table has an index.
NEWEST_ROWS = 20000
# People sleep: an account at one address that is active in more hours of one day is taken for a
# program. Our judgement.
HOURS_OF_PEOPLE = 18
_HOURS = (
    "SELECT user_id, user_ip, date(action_date), {hour}, COUNT(*) FROM "
    "(SELECT user_id, user_ip, action_date FROM user_logs ORDER BY user_log_id DESC "
    "LIMIT :rows) newest GROUP BY user_id, user_ip, date(action_date), {hour}"
)


@dataclass(frozen=True)
class Actions:
    """The newest actions, and how many of them were by accounts at one address that never sleep."""

    count: int
    sleepless: int
    programs: int


@dataclass(frozen=True)
class Traffic:
    """Who made the requests: `log` where an access log was given, else `actions`."""

    log: Optional[AccessLog] = None
    actions: Optional[Actions] = None

    @property
    def examined(self) -> Examined:
        """The lines of the log, or the actions."""
        if self.log:
            return self.log.examined
        count = self.actions.count if self.actions else 0
        return Examined(count, count, "action")


@measurement(seconds=4.0, needs=["database"])
def traffic(context: Context) -> Traffic:
    """Read the access log if there is one, else the newest actions."""
    if context.access_log:
        with as_invoker():
            log = access_log.read(
                context.access_log, context.instance.prefix, lambda: context.deadline.passed
            )
        return Traffic(log=log)
    return Traffic(actions=actions(context.instance.database_url))


def actions(url: str) -> Actions:
    """Return who acts, by account and address. Raises SQLAlchemyError."""
    import sqlalchemy

    engine = read_only_engine(url)
    hour = (
        "strftime('%H', action_date)"
        if engine.dialect.name == "sqlite"
        else ("EXTRACT(HOUR FROM action_date)")
    )
    statement = sqlalchemy.text(_HOURS.format(hour=hour))
    hours: collections.Counter[tuple[object, str, str]] = collections.Counter()
    counts: collections.Counter[tuple[object, str]] = collections.Counter()
    with engine.connect() as connection:
        rows = connection.execute(statement, {"rows": NEWEST_ROWS})
        for user, address, day, _, count in rows:
            hours[user, address, str(day)] += 1
            counts[user, address] += count
    programs = {who[:2] for who, seen in hours.items() if seen > HOURS_OF_PEOPLE}
    return Actions(sum(counts.values()), sum(map(counts.__getitem__, programs)), len(programs))
