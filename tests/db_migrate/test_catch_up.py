from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from catalogs import catalog
from dirt import Dirt, a_row, put, remove, run_preflight
from kallithea_tables import Database, models
from test_preflight_rules import CASES

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, Options, catch_up, connect, driver_errors, schema
from kallithea_tune.db_migrate.engines import engine_for
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.verify.fingerprint import Fingerprinter, KeyRange, RangeFingerprint
from kallithea_tune.errors import Refused, TuneError

# Everything at once: new rows that refer to new rows, unique values that change hands, rows that
# others refer to gone with them, a row whose key was used before by nobody.
CHANGES = """
    INSERT INTO users (user_id, username, password, active, admin, firstname, lastname,
                       extern_type, api_key, created_on)
        VALUES (900, 'new-comer', 'x', 1, 0, 'Ann', 'Ö',
                'internal', 'key', '2024-01-01 00:00:00.000001');
    INSERT INTO user_logs (user_id, username, repository_name, action, action_date)
        VALUES (900, 'new-comer', 'größe', 'it''s\n"new"\t\\', '2024-01-01 00:00:00.000002');
    UPDATE users SET username = 'aside' WHERE username = 'user0';
    UPDATE users SET username = 'user0' WHERE username = 'user1';
    UPDATE users SET username = 'user1' WHERE username = 'aside';
    UPDATE user_logs SET action = 'changed', user_ip = NULL WHERE user_log_id % 50 = 0;
    DELETE FROM user_logs
        WHERE user_id = (SELECT user_id FROM users WHERE username = 'user4') OR user_log_id < 20;
    DELETE FROM user_followings;
    DELETE FROM users_groups_members
        WHERE user_id = (SELECT user_id FROM users WHERE username = 'user4');
    DELETE FROM user_to_perm WHERE user_id = (SELECT user_id FROM users WHERE username = 'user4');
    DELETE FROM users WHERE username = 'user4';
    UPDATE repositories SET description = 'other', changeset_cache = x'00ff'
        WHERE repo_name = 'hg-one';
    INSERT INTO settings (app_settings_name, app_settings_value, app_settings_type)
        VALUES ('new', 'one', 'unicode');
"""


def change(ini: Path, script: str) -> None:
    connection = sqlite3.connect(str(ini.parent / "kallithea.db"), timeout=60)
    connection.executescript(f"BEGIN; {script}; COMMIT;")
    connection.close()


def migration(ini: Path, url: str, **options: Any) -> Migration:
    return Migration(instances.load(str(ini)), url, Options(**options))


def copied(ini: Path, url: str) -> None:
    with migration(ini, url) as moving:
        moving.check()
        moving.run()


def test_new_changed_and_deleted_rows_are_transferred(
    target: str, instance: Path, read: Any
) -> None:
    copied(instance, target)
    change(instance, CHANGES)
    with migration(instance, target) as again, pytest.raises(Refused, match="--catch-up"):
        again.run()
    with migration(instance, target) as moving:
        report = moving.catch_up()
    changes = {item.table: (item.new, item.changed, item.deleted) for item in report.changes or ()}
    assert (
        changes["users"] == (1, 2, 1)
        and changes["settings"] == (1, 0, 0)
        and changes["repositories"] == (0, 1, 0)
    )
    assert min(changes["user_logs"]) > 0
    assert report.differences == [] and len(report.verified) == 29
    assert read(target) == read(f"sqlite:///{instance.parent / 'kallithea.db'}")
    with migration(instance, target) as moving:
        assert moving.catch_up().changes == []


def test_only_ranges_that_were_written_to_are_read_twice(
    postgresql: Any, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.url("once")
    copied(large, url)
    change(large, "UPDATE user_logs SET action = 'pull' WHERE user_log_id IN (7, 9000, 9001)")
    requests: list[tuple[str, str, KeyRange]] = []
    fingerprint = Fingerprinter._fingerprint

    def noted(self: Fingerprinter, table: Any, keys: KeyRange) -> RangeFingerprint:
        requests.append((self.engine.connection.dialect.name, table.name, keys))
        return fingerprint(self, table, keys)

    monkeypatch.setattr(Fingerprinter, "_fingerprint", noted)
    with migration(large, url) as moving:
        assert moving.catch_up().differences == []
    source = [item for item in requests if item[0] == "sqlite"]
    assert len(set(source)) == len(source) >= 29
    target = [item for item in requests if item[0] == "postgresql"]
    twice = [(table, keys) for _, table, keys in target if target.count((_, table, keys)) == 2]
    assert {table for table, _ in twice} == {"user_logs"} and len(set(twice)) == 2
    assert len(target) == len(source) + 2
    assert all(
        any((keys.low or 0) <= key < (keys.high or key + 1) for key in (7, 9000))
        for _, keys in twice
    )


def test_what_a_trigger_of_the_target_changes_elsewhere_is_seen(target: str, large: Path) -> None:
    copied(large, target)
    written = "UPDATE user_logs SET action = 'x' WHERE user_log_id = 9000"
    body = f"BEGIN {written}; END"
    made = [f"CREATE TRIGGER t AFTER DELETE ON users FOR EACH ROW {body}"]
    if target.startswith("postgresql"):
        made = [
            f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {written};"
            " RETURN NULL; END $$",
            "CREATE TRIGGER t AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION f()",
        ]
    engine = sqlalchemy.create_engine(target)
    with engine.begin() as connection:
        for statement in made:
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
    change(large, "UPDATE users SET firstname = 'Anne' WHERE admin")
    with migration(large, target) as moving, pytest.raises(TuneError, match="user_logs.action"):
        moving.catch_up()


def test_the_next_key_is_beyond_the_last_one_after_catching_up(target: str, instance: Path) -> None:
    copied(instance, target)
    change(
        instance,
        "INSERT INTO user_logs (user_log_id, username, repository_name, action, action_date)"
        " VALUES (70000, '', '', '', '2024-01-01 00:00:00.000000')",
    )
    with migration(instance, target) as moving:
        moving.catch_up()
        (logs,) = [table for table in moving.copies if table.name == "user_logs"]
    engine = sqlalchemy.create_engine(target)
    with engine.begin() as connection:
        row = {
            "username": "",
            "repository_name": "",
            "action": "",
            "action_date": sqlalchemy.func.now(),
        }
        key = connection.execute(logs.insert().values(**row)).inserted_primary_key[0]
    assert key == 70001


def test_everything_in_the_catalog_is_as_before(postgresql: Any, instance: Path) -> None:
    url = postgresql.url("same_catalog")
    copied(instance, url)
    before = catalog(postgresql, "same_catalog")
    change(instance, CHANGES)
    with migration(instance, url) as moving:
        assert moving.catch_up().changes
    assert catalog(postgresql, "same_catalog") == before
    cursor = postgresql.connect("same_catalog").cursor()
    cursor.execute("SELECT count(*) FROM pg_constraint WHERE condeferrable OR NOT convalidated")
    assert cursor.fetchone() == (0,)


def test_what_does_not_fit_leaves_the_target_as_it_was(
    postgresql: Any, instance: Path, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.url("orphaned")
    copied(instance, url)
    before = read(url)
    change(
        instance,
        "DELETE FROM settings WHERE app_settings_id = 1; UPDATE user_logs SET user_id = 12345"
        " WHERE user_log_id = 100;",
    )
    with migration(instance, url) as moving:
        with pytest.raises(Refused, match="no --fix covers"):
            moving.catch_up()
        assert [item.rule.name for item in moving.result.violations] == ["orphans"]
        # Where preflight overlooks it.
        monkeypatch.setattr(moving, "run_preflight", lambda: None)
        moving.preflight.violations.clear()
        with pytest.raises(TuneError, match="foreign key.*as it was before"):
            moving.catch_up()
    assert read(url) == before


@pytest.mark.parametrize(
    "script, rule",
    [
        # The tables that refer to it are the same as before.
        ("DELETE FROM users WHERE username = 'user4'", "orphans"),
        ("UPDATE user_logs SET action_date = 'soon' WHERE user_log_id = 7", "dates"),
    ],
)
def test_rows_that_do_not_fit_are_named_and_the_target_is_as_it_was(
    target: str, instance: Path, read: Any, script: str, rule: str
) -> None:
    copied(instance, target)
    before = read(target)
    change(instance, script)
    with migration(instance, target) as moving:
        with pytest.raises(
            Refused, match="(as it was before|nothing was changed).* no --fix covers"
        ):
            moving.catch_up()
        assert {violation.rule.name for violation in moving.result.violations} == {rule}
    assert read(target) == before


def arrives(source: Any, url: str) -> bool:
    """Whether a strict target takes all rows of `source` as they are, without preflight; nothing
    stays.
    """
    engine = connect.target_engine(url)
    tables = schema.ordered(models())
    with engine.connect() as connection:
        target = engine_for(connection)
        copies = schema.for_target(tables, target.writer, models())
        trial = connection.begin()
        try:
            _, checked = catch_up.apply_changes(
                Transfer(
                    engine_for(source.connection),
                    target,
                    tables,
                    [copies.tables[table.name] for table in tables],
                ),
                {},
            )
            return not any(item.differences for item in checked)
        except Exception as error:
            assert isinstance(error, TuneError) or driver_errors.of_driver(error), error
            return False
        finally:
            trial.rollback()


@pytest.mark.parametrize("target", ["postgresql", "mysql"])
@pytest.mark.parametrize("dirt", CASES, ids=lambda dirt: f"{dirt.rule}-{ascii(dirt.value)[:30]}")
def test_without_preflight_a_strict_target_lets_nothing_pass_that_it_would_find(
    spoilable: dict[str, Database], dirt: Dirt, target: str
) -> None:
    source, other = spoilable["sqlite"], spoilable[target]
    assert other.engine.writer.strict
    put(source, dirt.table, a_row(dirt.table, 2, **{dirt.column: dirt.value}))
    try:
        blocking = run_preflight(source, other).blocking
        url = other.connection.engine.url
        assert arrives(
            source, getattr(url, "render_as_string", lambda **_: str(url))(hide_password=False)
        ) is (not blocking)
    finally:
        remove(source, dirt)


def test_rows_that_others_wrote_are_not_undone(target: str, instance: Path, read: Any) -> None:
    copied(instance, target)
    engine = sqlalchemy.create_engine(target)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO settings"
                " (app_settings_id, app_settings_name, app_settings_value, app_settings_type)"
                " VALUES (500, 'written', 'there', 'unicode')"
            )
        )
    before = read(target)
    with migration(instance, target) as moving, pytest.raises(
        Refused, match="settings has the key 500"
    ):
        moving.catch_up()
    assert read(target) == before


def test_only_a_target_of_ours_is_caught_up_with(
    postgresql: Any, instance: Path, created_on: Any, read: Any
) -> None:
    for name, fill, reason in (
        ("nothing", lambda url: None, "nothing to catch up with"),
        ("another", created_on, "may have rows that the source never had"),
    ):
        url = postgresql.url(name)
        fill(url)
        before = catalog(postgresql, name)
        with migration(instance, url) as moving, pytest.raises(Refused, match=reason):
            moving.catch_up()
        assert catalog(postgresql, name) == before


def test_tables_without_a_model_are_replaced_entirely(postgresql: Any, instance: Path) -> None:
    url = postgresql.url("leftovers")
    change(
        instance,
        "CREATE TABLE plugin (name VARCHAR(20), price FLOAT); INSERT INTO plugin VALUES ('a', 0.1);"
        # Of a migration after which the ini file was changed by hand.
        " CREATE TABLE kallithea_tune_journal (entry VARCHAR(120) PRIMARY KEY, value VARCHAR(255))",
    )
    with migration(instance, url, extra_tables=True) as moving:
        moving.run()
    change(
        instance,
        "INSERT INTO plugin VALUES ('b', 0.2); UPDATE plugin SET price = 0.3 WHERE name = 'a'",
    )
    with migration(instance, url, extra_tables=True) as moving:
        assert [item.table for item in moving.catch_up().changes or ()] == ["plugin"]
    cursor = postgresql.connect("leftovers").cursor()
    cursor.execute("SELECT name, price FROM plugin ORDER BY 1")
    assert cursor.fetchall() == [("a", 0.3), ("b", 0.2)]


WRITER = """
import signal, sqlite3, sys

pytestmark = pytest.mark.once

ended = []
# In the middle of a transaction it would leave one that nobody takes back.
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
connection = sqlite3.connect(sys.argv[1], timeout=60)
print("ready", flush=True)
number = 0
while not ended:
    number += 1
    with connection:
        connection.execute("INSERT INTO user_logs (username, repository_name, action, action_date)"
                           " VALUES ('writer', '', ?, '2024-01-01 00:00:00.000000')", [str(number)])
        connection.execute("UPDATE user_logs SET user_ip = ? WHERE user_log_id % 97 = ?",
                           [str(number), number % 97])
        connection.execute("DELETE FROM user_logs WHERE user_log_id = ?", [number * 2])
    print(number, flush=True)
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_writer_hammers_the_source_all_the_time(
    postgresql: Any, instance: Path, read: Any, mode: str
) -> None:
    url, file = postgresql.url("hammered"), str(instance.parent / "kallithea.db")
    change(instance, "")
    sqlite3.connect(file).execute(f"PRAGMA journal_mode = {mode}")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, universal_newlines=True
    )
    written: list[str] = []
    assert writer.stdout
    reader = threading.Thread(target=lambda: written.extend(writer.stdout or ()))
    reader.start()
    try:
        while len(written) < 10:
            time.sleep(0.01)
        with migration(instance, url) as moving:
            before = len(written)
            report = moving.run()
            # One moment was copied and verified, and the writer was not held up meanwhile.
            assert report.differences == [] and len(written) > before
            with pytest.raises(Refused, match="after the snapshot.*--catch-up"):
                moving.cutover.require_unchanged_source()
        with migration(instance, url) as moving:
            assert [item.table for item in moving.catch_up().changes or ()] == ["user_logs"]
            with pytest.raises(Refused):
                moving.cutover.require_unchanged_source()
    finally:
        writer.terminate()
        writer.wait()
        reader.join()
    with migration(instance, url) as moving:
        moving.catch_up()
        moving.cutover.require_unchanged_source()
    assert read(url) == read("sqlite:///" + file)
