"""The survey says of each engine what is true there, and why a database cannot be read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from servers import schema

from kallithea_tune.db.engine import create_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database import engines
from kallithea_tune.perf_check.database.server import (
    connected,
    journal,
    lock_holders,
    log,
    look_ups,
    survey,
    unindexed,
)
from kallithea_tune.system import child

LOG_ROWS = 3000
SERVERS = ("postgresql", "mariadb")


@pytest.fixture(scope="module")
def urls(postgresql: Any, mariadb: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
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
def test_engine_tables_and_log_are_what_was_made(urls: Any, name: str, engine: str) -> None:
    found = child.call("kallithea_tune.perf_check.database.server:survey", 30, url=urls[name])
    assert (
        found["engine"] == engine and found["version"][0].isdigit() and " " not in found["version"]
    )
    assert len(found["tables"]) == 30 and "alembic_version" in found["tables"]
    # MariaDB estimates.
    assert found["tables"]["user_logs"]["rows"] == pytest.approx(
        LOG_ROWS, rel=0.2 if name == "mariadb" else 0
    )
    assert found["log"]["rows_a_day"] == pytest.approx(144, rel=0.01)
    assert found["log"]["lengths"] == [4, 6, 4] and found["log"]["busiest_minute"] == 1
    assert len(found["round_trips_ms"]) == 50
    assert (["user_logs", "user_id"] in found["foreign_keys"]) == (name != "mariadb")


def test_sqlite_tells_its_pragmas(urls: Any) -> None:
    path = urls["sqlite"][len("sqlite:///") :]
    found = survey(urls["sqlite"])
    assert found["journal_mode"] == "delete" and found["free_pages"] == 0
    assert found["pages"] * found["page_size"] == Path(path).stat().st_size


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_tells_its_limits_and_bytes(urls: Any, name: str, request: Any) -> None:
    found = survey(urls[name])
    connection = request.getfixturevalue(name).connect().cursor()
    connection.execute(
        {"postgresql": "SHOW max_connections", "mariadb": "SELECT @@max_connections"}[name]
    )
    assert found["max_connections"] == int(connection.fetchone()[0]) > found["connections"] >= 1
    assert found["tables"]["user_logs"]["bytes"] > 100_000
    assert found["idle_timeout_s"] == {"postgresql": 0, "mariadb": 28800}[name]


def test_postgresql_tells_of_dead_rows_and_of_its_last_analyze(postgresql: Any) -> None:
    url = schema.create(postgresql.url("vacuum"), 2000)
    before = survey(url)["tables"]["user_logs"]
    assert not before["analyzed"] and before["analyze_days"] is None and before["changed"] == 2000
    cursor = postgresql.connect("vacuum").cursor()
    cursor.execute("ANALYZE user_logs")
    cursor.execute("DELETE FROM user_logs WHERE user_log_id <= 1500")
    # The server gathers its counters once in a while; a new connection of its own sees them.
    cursor.connection.close()
    for _ in range(100):
        after = survey(url)["tables"]["user_logs"]
        if after["dead"]:
            break
    assert after["dead"] == 1500 and after["analyzed"] and 0 <= after["analyze_days"] < 0.1


def test_an_idle_timeout_of_postgresql_is_read_in_its_unit(postgresql: Any) -> None:
    url = postgresql.url("idle")
    cursor = postgresql.connect().cursor()
    cursor.execute("ALTER DATABASE idle SET idle_session_timeout = '2h'")
    assert survey(url)["idle_timeout_s"] == 7200


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
    tables = survey(f"sqlite:///{tmp_path}/a.db")["tables"]
    assert {name: table["rows"] for name, table in tables.items()} == {
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
        asked = log(lambda text, **named: reader.execute(sqlalchemy.text(text), named))
    assert asked["rows_a_day"] < 10, (
        "the last 1000 rows span less than a week, so the older ones count, too"
    )
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        connection.execute(
            "UPDATE user_logs SET action_date = datetime('now', (user_log_id - 3000) || ' hours')"
        )
    assert survey(url)["log"]["rows_a_day"] == pytest.approx(24, rel=0.01)
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        # Rows of half a week, copied from elsewhere after some that were made today.
        connection.execute(
            "UPDATE user_logs SET action_date = datetime('now', ((user_log_id - 3000) / 36) || ' hours')"
        )
        connection.execute(
            "UPDATE user_logs SET action_date = datetime('now') WHERE user_log_id <= 4"
        )
    assert survey(url)["log"]["rows_a_day"] == pytest.approx(864, rel=0.1)


@pytest.mark.parametrize("name", ("sqlite", *SERVERS))
@pytest.mark.alone
def test_an_index_on_the_date_ends_the_sort_of_the_journal(
    name: str, request: Any, tmp_path: Path
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
    before = journal(url, 5)
    assert before["sorts"] and not before["cut"] and len(before["by_date_ms"]) == 7
    with create_engine(url).begin() as connection:
        connection.execute("CREATE INDEX on_date ON user_logs (action_date)")
    after = journal(url, 5)
    assert not after["sorts"] and min(after["by_date_ms"]) < min(before["by_date_ms"])


def test_a_journal_that_takes_too_long_is_cut_and_says_so(urls: Any) -> None:
    found = child.call(
        "kallithea_tune.perf_check.database.server:journal", 30, url=urls["sqlite"], limit=1e-6
    )
    assert found["cut"] and found["by_date_ms"] == [1e-3]


@pytest.mark.parametrize("name", ("sqlite", *SERVERS))
def test_foreign_keys_are_looked_up_whatever_their_type(urls: Any, name: str) -> None:
    keys = [("user_logs", "user_id"), ("user_logs", "action")]
    taken = look_ups(urls[name], keys, 5)
    assert set(taken) == {"user_logs.user_id", "user_logs.action"} and min(taken.values()) > 0
    assert len(look_ups(urls[name], keys, 0)) == 1, "when the time is over no other is begun"


def test_an_index_that_begins_with_the_key_is_enough(tmp_path: Path) -> None:
    engine = create_engine(schema.create(f"sqlite:///{tmp_path}/a.db"))
    missing = unindexed(sqlalchemy.inspect(engine))
    assert ("user_logs", "user_id") in missing and ("user_logs", "repository_id") in missing
    with engine.begin() as connection:
        connection.execute("CREATE INDEX one ON user_logs (user_id, action_date)")
        connection.execute("CREATE INDEX other ON user_logs (action_date, repository_id)")
    gone = set(missing) - set(unindexed(sqlalchemy.inspect(engine)))
    assert gone == {("user_logs", "user_id")}


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    sqlite3.connect(str(path)).execute("CREATE TABLE things (content)").connection.close()
    assert lock_holders(str(path)) == [] == lock_holders(str(tmp_path / "none.db"))
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
        assert lock_holders(str(path)) == [holder.pid]
        with pytest.raises(NotMeasured, match="is locked by process %d$" % holder.pid):
            survey(f"sqlite:///{path}")
    finally:
        holder.communicate()


def test_a_table_that_others_keep_locked_is_waited_for_two_seconds_only(postgresql: Any) -> None:
    url = schema.create(postgresql.url("locked"))
    connection = postgresql.connect("locked")
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE user_logs IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(NotMeasured, match="lock timeout"):
        survey(url)
    connection.close()
