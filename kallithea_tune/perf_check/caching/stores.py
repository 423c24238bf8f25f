"""Where sessions and cache regions are kept when they are not in files or in memory."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, replace
from typing import Mapping, Optional

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import Instance, absolute_url
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.caching import servers
from kallithea_tune.perf_check.caching.beaker_files import OLD_DAYS
from kallithea_tune.perf_check.caching.servers import Answer
from kallithea_tune.perf_check.database.client import SqlClient, client_of
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

TABLE = "beaker_cache"
SESSIONS = "sessions"
# The options of a store that Beaker's backends accept from an ini file.
_OPTIONS = ("url", "memcache_module", "table_name", "schema_name")
_KNOWN = ("ext:database", "ext:sqla", "ext:memcached", "ext:redis")


@dataclass(frozen=True)
class Rows:
    """The rows of Beaker's table, and those that nobody accessed for `days`."""

    table: str
    rows: int
    old: int
    days: int


@dataclass(frozen=True)
class Store:
    """A store of `user`, which is the sessions or a region, and what was found there.

    `option` is the name of the option that sets its type. `failure` is Beaker's own message when
    the store is made and used. One of `rows` and `answers` is there, or `reason` why neither; the
    `client` is that of the database with the rows. `timeout` says whether entries end.
    """

    user: str
    type: str
    option: str
    timeout: bool = True
    failure: str = ""
    rows: Optional[Rows] = None
    client: Optional[SqlClient] = None
    answers: tuple[Answer, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Stores:
    """The stores that are neither files nor memory; `section` is that of the application."""

    stores: tuple[Store, ...]
    section: str

    @property
    def examined(self) -> Examined:
        """Those that something is known of."""
        known = sum(not store.reason for store in self.stores)
        return Examined(known, len(self.stores), "stores of sessions and caches")


@measurement(seconds=2.0)
def stores(context: Context) -> Stores:
    """Make each store as Beaker does, count its rows or question its servers."""
    instance = context.instance
    found = []
    for store, options in _configured(instance):
        try:
            failure = child.call(trial, 5.0, type=store.type, options=options)
            store = replace(store, failure=failure)
            found.append(_look(store, options, context.deadline.left))
        except (NotMeasured, TuneError) as error:
            found.append(replace(store, reason=str(error)))
    return Stores(tuple(found), instance.section)


def _configured(instance: Instance) -> list[tuple[Store, dict[str, str]]]:
    """Return the stores of the settings with their options."""
    settings = instance.settings
    kind = beaker_config.session_type(settings)
    found = []
    if kind == "cookie" or kind.startswith("ext:"):
        options = {
            key[len("session.") :]: value
            for key, value in settings.items()
            if key.startswith("session.")
        }
        timeout = bool(options.get("timeout", "").strip())
        found.append((Store(SESSIONS, kind, "session.type", timeout), options))
    try:
        regions = beaker_config.regions(settings)
    except ValueError:
        return found  # CAC008 reports it.
    for name, region in regions.items():
        if str(region.get("type")).startswith("ext:") and region.get("enabled"):
            options = {key: str(value) for key, value in region.items()}
            store = Store(name, options["type"], f"beaker.cache.{name}.type")
            found.append((store, options))
    return found


def trial(type: str, options: Mapping[str, str]) -> str:
    """Return Beaker's message where the store of a `type` cannot be made or used, else nothing.

    A database is tried in memory, and no server is connected to; for a child.
    """
    from beaker.cache import clsmap

    if type == "cookie":
        return "" if options.get("validate_key") else "no session.validate_key is set"
    if type not in _KNOWN:
        return ""
    given = {key: options[key] for key in _OPTIONS if options.get(key)}
    if "url" in given and type == "ext:database":
        given.update(url="sqlite://", schema_name="")
    try:
        space = clsmap[type]("kallithea-tune", **given)
        if type == "ext:database":
            space.acquire_write_lock()
            space["key"] = "value"
            space.release_write_lock()
    except KeyError as error:
        return f"no option {error} is set"
    except Exception as error:  # Whatever a missing library or a wrong option leads to.
        return str(error).splitlines()[0]
    return ""


def _look(store: Store, options: Mapping[str, str], seconds: float) -> Store:
    """Add what is in the store, or how its servers are."""
    url = options.get("url", "")
    if store.type == "ext:database" and url:
        count = child.call(
            rows,
            seconds + 2,
            url=absolute_url(url),
            table=options.get("table_name") or TABLE,
            days=_days(options),
        )
        return replace(store, rows=count, client=client_of(absolute_url(url)))
    if store.type == "ext:memcached" and url:
        places = [place.strip() for place in url.split(";") if place.strip()]
        return replace(store, answers=child.call(question_memcached, seconds + 4, places=places))
    if store.type == "ext:redis" and url:
        return replace(store, answers=(child.call(servers.redis, seconds + 4, url=url),))
    if store.failure or store.type == "cookie":
        return store
    raise NotMeasured(f"stores of the type {store.type} are not examined")


def _days(options: Mapping[str, str]) -> int:
    seconds = options.get("timeout", "").strip()
    return max(OLD_DAYS, -(-int(seconds) // 86400)) if seconds.isdigit() else OLD_DAYS


def question_memcached(places: list[str]) -> tuple[Answer, ...]:
    """Question each server, for four seconds at most; for a child."""
    end = time.monotonic() + 4 * servers.ANSWER_SECONDS
    return tuple(servers.memcached(place) for place in places if time.monotonic() < end)


def rows(url: str, table: str, days: int) -> Rows:
    """Count the rows of Beaker's table, and the old ones; for a child.

    Raises NotMeasured where the database does not answer. A table that is not there has no rows:
    Beaker makes it when it needs it.
    """
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    limit = datetime.datetime.now() - datetime.timedelta(days=days)
    engine = read_only_engine(url)
    quoted = engine.dialect.identifier_preparer.quote(table)
    try:
        with engine.connect() as connection:
            if not engine.dialect.has_table(connection, table):
                return Rows(table, 0, 0, days)
            counted = connection.execute(
                sqlalchemy.text(
                    "SELECT count(*), sum(CASE WHEN accessed < :limit THEN 1 ELSE 0 END)"
                    f" FROM {quoted}"
                ),
                limit=limit,
            ).first()
    except SQLAlchemyError as error:
        raise NotMeasured(
            f"the rows of {table} cannot be counted: {type(error).__name__}"
        ) from None
    return Rows(table, int(counted[0]), int(counted[1] or 0), days)
