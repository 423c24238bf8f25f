"""The facts of each engine are true, and a database that cannot be read has a reason."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Mapping

import pytest
import sqlalchemy
from servers import schema
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

from kallithea_tune.db.engine import create_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database import engines
from kallithea_tune.perf_check.database.facts import (
    DatabaseFacts,
    ForeignKey,
    LogFacts,
    ServerLimits,
    SqliteFacts,
    TableMaintenance,
)
from kallithea_tune.perf_check.database.failures import lock_owners
from kallithea_tune.perf_check.database.indexes import time_journal, time_lookups
from kallithea_tune.perf_check.database.server import (
    connected,
    log_facts,
    query_on,
    survey,
    unindexed_keys,
)
from kallithea_tune.system import child

LOG_ROWS = 3000
SERVERS = ("postgresql", "mariadb")


def log_of(facts: DatabaseFacts) -> LogFacts:
    assert facts.log
    return facts.log


def limits_of(facts: DatabaseFacts) -> ServerLimits:
    assert facts.server
    return facts.server


def sqlite_of(facts: DatabaseFacts) -> SqliteFacts:
    assert facts.sqlite
    return facts.sqlite


def maintenance_of(facts: DatabaseFacts, table: str) -> TableMaintenance:
    maintenance = facts.tables[table].maintenance
    assert maintenance
    return maintenance


@pytest.fixture(scope="module")
def urls(
    postgresql: PostgreSQL, mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """Kallithea's own tables in each engine, by its name."""
    file = tmp_path_factory.mktemp("survey") / "kallithea.db"
    made = {
        "sqlite": schema.create(f"sqlite:///{file}", LOG_ROWS),
        "postgresql": schema.create(postgresql.url("survey"), LOG_ROWS),
        "mariadb": schema.create(mariadb.url("survey"), LOG_ROWS),
    }
    # InnoDB would count the rows of the new table later, in the background.
    mariadb.connect("survey").cursor().execute("ANALYZE TABLE user_logs")
    return made


@pytest.mark.parametrize(
    "name, engine", [("sqlite", "SQLite"), ("postgresql", "PostgreSQL"), ("mariadb", "MariaDB")]
)
def test_engine_tables_and_log_are_what_was_made(
    urls: Mapping[str, str], name: str, engine: str
) -> None:
    facts = child.call(survey, 30, url=urls[name])
    assert facts.engine == engine and facts.version[0].isdigit() and " " not in facts.version
    assert len(facts.tables) == 30 and "alembic_version" in facts.tables
    # MariaDB estimates.
    assert facts.tables["user_logs"].rows == pytest.approx(
        LOG_ROWS, rel=0.2 if name == "mariadb" else 0
    )
    assert log_of(facts).rows_a_day == pytest.approx(144, rel=0.01)
    assert log_of(facts).lengths == (4, 6, 4) and log_of(facts).busiest_minute == 1
    assert len(facts.round_trips_ms) == 50
    assert (ForeignKey("user_logs", "user_id") in facts.unindexed_keys) == (name != "mariadb")
    assert facts.supported and facts.examined.complete


def test_sqlite_reports_its_pragmas(urls: Mapping[str, str]) -> None:
    path = urls["sqlite"][len("sqlite:///") :]
    facts = survey(urls["sqlite"])
    assert sqlite_of(facts).journal_mode == "delete" and sqlite_of(facts).free_pages == 0
    assert sqlite_of(facts).pages * sqlite_of(facts).page_size == Path(path).stat().st_size
    assert facts.size_bytes == Path(path).stat().st_size


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_reports_its_limits_and_bytes(
    urls: Mapping[str, str], name: str, request: pytest.FixtureRequest
) -> None:
    facts = survey(urls[name])
    limits = limits_of(facts)
    connection = request.getfixturevalue(name).connect().cursor()
    connection.execute(
        {"postgresql": "SHOW max_connections", "mariadb": "SELECT @@max_connections"}[name]
    )
    assert limits.max_connections == int(connection.fetchone()[0]) > limits.connections >= 1
    assert facts.tables["user_logs"].bytes > 100_000
    assert limits.idle_timeout_s == {"postgresql": 0, "mariadb": 28800}[name]


def test_postgresql_reports_dead_rows_and_its_last_analyze(postgresql: PostgreSQL) -> None:
    url = schema.create(postgresql.url("vacuum"), 2000)
    before = maintenance_of(survey(url), "user_logs")
    assert not before.analyzed and before.analyze_days is None and before.changed_rows == 2000
    cursor = postgresql.connect("vacuum").cursor()
    cursor.execute("ANALYZE user_logs")
    cursor.execute("DELETE FROM user_logs WHERE user_log_id <= 1500")
    # The server gathers its counters once in a while; a new connection of its own sees them.
    cursor.connection.close()
    for _ in range(100):
        after = maintenance_of(survey(url), "user_logs")
        if after.dead_rows:
            break
    assert after.dead_rows == 1500 and after.analyzed
    assert after.analyze_days is not None and 0 <= after.analyze_days < 0.1


def test_an_idle_timeout_of_postgresql_is_read_in_its_unit(postgresql: PostgreSQL) -> None:
    url = postgresql.url("idle")
    cursor = postgresql.connect().cursor()
    cursor.execute("ALTER DATABASE idle SET idle_session_timeout = '2h'")
    assert limits_of(survey(url)).idle_timeout_s == 7200


def test_rows_of_a_large_sqlite_table_come_from_its_row_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COUNT_LIMIT", 10)
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        connection.execute('CREATE TABLE "odd ""name" (id INTEGER PRIMARY KEY)')
        connection.execute("CREATE TABLE without (id INTEGER PRIMARY KEY) WITHOUT ROWID")
        connection.execute("CREATE TABLE small (id INTEGER PRIMARY KEY)")
        for table, rows in (
            ('"odd ""name"', range(100, 150)),
            ("without", range(30)),
            ("small", range(5, 12)),
        ):
            connection.executemany(
                f"INSERT INTO {table} VALUES (?)", [(number,) for number in rows]
            )
    tables = survey(f"sqlite:///{tmp_path}/a.db").tables
    assert {name: table.rows for name, table in tables.items()} == {
        'odd "name': 50,
        "without": 10,
        "small": 7,
    }


def test_growth_is_that_of_the_last_week_not_of_a_first_import(tmp_path: Path) -> None:
    url = schema.create(f"sqlite:///{tmp_path}/a.db", 3000)
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        connection.execute(
            "UPDATE user_logs SET action_date = '2001-02-03 04:05:06' WHERE user_log_id <= 1900"
        )
    with connected(url) as reader:
        facts = log_facts(query_on(reader))
    assert facts and facts.rows_a_day < 10, (
        "the last 1000 rows span less than a week, so the older ones count, too"
    )
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        connection.execute(
            "UPDATE user_logs SET action_date = datetime('now', (user_log_id - 3000) || ' hours')"
        )
    assert log_of(survey(url)).rows_a_day == pytest.approx(24, rel=0.01)
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        # Rows of half a week, copied from elsewhere after some that were made today.
        connection.execute(
            "UPDATE user_logs "
            "SET action_date = datetime('now', ((user_log_id - 3000) / 36) || ' hours')"
        )
        connection.execute(
            "UPDATE user_logs SET action_date = datetime('now') WHERE user_log_id <= 4"
        )
    assert log_of(survey(url)).rows_a_day == pytest.approx(864, rel=0.1)


@pytest.mark.parametrize("name", ("sqlite", *SERVERS))
@pytest.mark.alone
def test_an_index_on_the_date_ends_the_sort_of_the_journal(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    empty = (
        f"sqlite:///{tmp_path}/a.db"
        if name == "sqlite"
        else request.getfixturevalue(name).url("journal")
    )
    url = schema.create(empty, 2000)
    with create_engine(url).begin() as connection:
        for _ in range(4):  # Sorting a few rows is less work than reading them by an index.
            connection.execute(
                "INSERT INTO user_logs (username, repository_name, action, action_date) "
                "SELECT username, repository_name, action, action_date FROM user_logs"
            )
    before = time_journal(url, 5)
    assert before.sorts and not before.cut and len(before.by_date_ms) == 7
    with create_engine(url).begin() as connection:
        connection.execute("CREATE INDEX on_date ON user_logs (action_date)")
    after = time_journal(url, 5)
    assert not after.sorts and min(after.by_date_ms) < min(before.by_date_ms)


def test_a_journal_that_takes_too_long_is_cut_and_marked_so(urls: Mapping[str, str]) -> None:
    times = child.call(time_journal, 30, url=urls["sqlite"], limit=1e-6)
    assert times.cut and times.by_date_ms == (1e-3,)


@pytest.mark.parametrize("name", ("sqlite", *SERVERS))
def test_foreign_keys_are_looked_up_whatever_their_type(urls: Mapping[str, str], name: str) -> None:
    keys = [ForeignKey("user_logs", "user_id"), ForeignKey("user_logs", "action")]
    lookups = child.call(time_lookups, 30, url=urls[name], keys=keys, limit=5.0)
    assert {lookup.name for lookup in lookups} == {"user_logs.user_id", "user_logs.action"}
    assert min(lookup.ms for lookup in lookups) > 0
    assert len(time_lookups(urls[name], keys, 0)) == 1, "when the time is over no other is begun"


def test_an_index_that_begins_with_the_key_is_enough(tmp_path: Path) -> None:
    engine = create_engine(schema.create(f"sqlite:///{tmp_path}/a.db"))
    missing = unindexed_keys(sqlalchemy.inspect(engine))
    assert ("user_logs", "user_id") in missing and ("user_logs", "repository_id") in missing
    with engine.begin() as connection:
        connection.execute("CREATE INDEX one ON user_logs (user_id, action_date)")
        connection.execute("CREATE INDEX other ON user_logs (action_date, repository_id)")
    gone = set(missing) - set(unindexed_keys(sqlalchemy.inspect(engine)))
    assert gone == {("user_logs", "user_id")}


def test_the_owner_of_a_lock_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    sqlite3.connect(str(path)).execute("CREATE TABLE things (content)").connection.close()
    assert lock_owners(str(path)) == [] == lock_owners(str(tmp_path / "none.db"))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin and holder.stdout
    try:
        holder.stdout.readline()
        assert lock_owners(str(path)) == [holder.pid]
        with pytest.raises(NotMeasured, match=f"is locked by process {holder.pid}$"):
            survey(f"sqlite:///{path}")
    finally:
        holder.communicate()


def test_a_table_that_others_keep_locked_is_waited_for_two_seconds_only(
    postgresql: PostgreSQL,
) -> None:
    url = schema.create(postgresql.url("locked"))
    connection = postgresql.connect("locked")
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE user_logs IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(NotMeasured, match="lock timeout"):
        survey(url)
    connection.close()
