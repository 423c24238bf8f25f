"""The command's questions, warnings, exit statuses, and no secret in whatever it prints."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

import pytest


@pytest.fixture
def migrate(gearbox: Any, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def call(
        ini: Path, url: str, *args: object, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        return gearbox(
            "db-migrate",
            "-c",
            ini,
            "--to",
            "env:TARGET",
            *args,
            cwd=str(tmp_path),
            env=dict(os.environ, TARGET=url),
            **options,
        )

    return call


def tables(postgresql: Any, name: str) -> list[str]:
    connection = postgresql.connect(name)
    cursor = connection.cursor()
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    found = [row[0] for row in cursor.fetchall()]
    connection.close()
    return found


def filled(postgresql: Any, name: str) -> str:
    url = postgresql.url(name)
    connection = postgresql.connect(name)
    connection.cursor().execute("CREATE TABLE precious (id int); CREATE TABLE users (id int)")
    connection.close()
    return url


def test_without_ini_or_target_an_example_is_shown(gearbox: Any, instance: Path) -> None:
    for args in ([], ["-c", instance], ["--to", "sqlite:///x.db"]):
        done = gearbox("db-migrate", *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert "gearbox db-migrate -c my.ini --to file:URLFILE" in done.stderr


def test_help_imports_neither_sqlalchemy_nor_a_driver() -> None:
    script = (
        "import sys; from kallithea_tune.cli.db_migrate import DbMigrateCommand;"
        "DbMigrateCommand(None, None, 'db-migrate').get_parser('gearbox db-migrate').format_help();"
        "heavy = {'sqlalchemy', 'psycopg2', 'pymysql', 'kallithea', 'tqdm'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, universal_newlines=True, check=True
    )
    assert done.stdout == "[]\n"


def test_replace_lists_the_tables_and_requires_confirmation(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    url = filled(postgresql, "replaced")
    done = migrate(instance, url, "--replace", stdin=subprocess.DEVNULL)
    assert (
        done.returncode == 3
        and "\n  precious\n  users\n" in done.stderr
        and "-y answers yes" in done.stderr
    )
    assert tables(postgresql, "replaced") == ["precious", "users"]
    done = migrate(instance, url, "--replace", "--dry-run")
    assert done.returncode == 0 and "Dropped from the target first: precious, users" in done.stdout
    assert tables(postgresql, "replaced") == ["precious", "users"]
    done = migrate(instance, url, "--replace", "-y")
    assert done.returncode == 0, done.stderr
    assert (
        "precious" not in tables(postgresql, "replaced")
        and len(tables(postgresql, "replaced")) == 31
    )
    assert f"{instance} still points at the source database.\nTo switch, " in done.stderr


@pytest.mark.parametrize("answer, status", [("n\n", 3), ("\n", 3), ("y\n", 0)])
@pytest.mark.once
def test_replace_asks_on_a_terminal(
    postgresql: Any, instance: Path, migrate: Any, answer: str, status: int
) -> None:
    url = filled(postgresql, "asked")
    parent, child = pty.openpty()
    os.write(parent, answer.encode())
    done = migrate(instance, url, "--replace", stdin=child)
    os.close(child)
    os.close(parent)
    assert done.returncode == status, done.stderr
    assert "Drop them? [y/N]" in done.stderr
    assert ("precious" in tables(postgresql, "asked")) is (status == 3)


def test_replace_replaces_a_sqlite_file_only_when_the_new_one_is_complete(
    instance: Path, migrate: Any, tmp_path: Path
) -> None:
    import sqlite3

    old = tmp_path / "old.db"
    with sqlite3.connect(str(old)) as connection:
        connection.execute("CREATE TABLE precious (id int)")
    connection.close()
    old.chmod(0o640)
    before = old.read_bytes()
    done = migrate(instance, f"sqlite:///{old}")
    assert done.returncode == 3 and "precious" in done.stderr
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE user_logs SET user_id = 12345 WHERE user_log_id = 7")
    done = migrate(instance, f"sqlite:///{old}", "--replace", "-y")
    assert done.returncode == 3, done.stderr
    assert old.read_bytes() == before and [path.name for path in tmp_path.glob("old*")] == [
        "old.db"
    ]
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE user_logs SET user_id = 1 WHERE user_log_id = 7")
    done = migrate(instance, f"sqlite:///{old}", "--replace", "-y")
    assert done.returncode == 0, done.stderr
    assert old.stat().st_mode & 0o777 == 0o640 and old.read_bytes() != before


def test_the_plan_has_the_time_and_what_types_lose(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    done = migrate(instance, postgresql.url("planned"), "-n")
    assert done.returncode == 0, done.stderr
    for text in (
        "Time: about",
        "\nMeasured: ",
        "of 176 columns get another type",
        "text over 255 characters is refused",
        "29 tables",
    ):
        assert text in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80 + len(str(instance))
    shown = json.loads(migrate(instance, postgresql.url("planned"), "-n", "-f", "json").stdout)
    assert (
        shown["estimate"]["rows"] >= 500
        and shown["estimate"]["copy_rate"] > 0 < shown["estimate"]["verify_rate"]
    )
    assert tables(postgresql, "planned") == []


def test_a_dry_run_shows_the_edit_and_what_would_be_refused(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    before = instance.read_bytes()
    done = migrate(instance, filled(postgresql, "refused"), "-n", "--switch")
    assert done.returncode == 3 and "29 tables" in done.stdout and "is not empty" in done.stderr
    assert "+sqlalchemy.url = postgresql://kallithea:***@127.0.0.1" in done.stderr
    assert instance.read_bytes() == before and tables(postgresql, "refused") == [
        "precious",
        "users",
    ]


@pytest.mark.parametrize(
    "args, text",
    [
        (["--verify", "--switch"], "--verify and --switch cannot be combined"),
        (["--verify", "-n"], "--verify and --dry-run"),
        (["--catch-up", "--replace"], "--catch-up and --replace"),
        (["--catch-up", "-n"], "--verify shows what --catch-up would transfer"),
    ],
)
def test_options_that_contradict_one_another_are_wrong_usage(
    instance: Path, migrate: Any, args: list[str], text: str
) -> None:
    done = migrate(instance, "sqlite:///x.db", *args)
    assert (done.returncode, done.stdout) == (2, "") and text in done.stderr


def test_quiet_is_quiet_and_the_json_report_complete(
    postgresql: Any, instance: Path, gearbox: Any
) -> None:
    done = gearbox(
        "-q",
        "db-migrate",
        "-c",
        instance,
        "--to",
        "env:TARGET",
        "-f",
        "json",
        env=dict(os.environ, TARGET=postgresql.url("quiet")),
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert set(report["seconds"]) >= {"copy", "keys and indexes", "proof", "verify", "application"}
    assert (
        report["rows"]["user_logs"]
        == dict((item["name"], item["rows"]) for item in report["plan"]["tables"])["user_logs"]
    )
    assert (
        report["differences"] == [] and report["inserts_tried"] == 29 and len(report["pages"]) == 6
    )


def test_a_password_among_the_arguments_is_warned_about(
    postgresql: Any, instance: Path, gearbox: Any
) -> None:
    url = postgresql.url("warned")
    done = gearbox("db-migrate", "-c", instance, "--to", url, "--dry-run")
    assert done.returncode == 0 and "use env:NAME or file:PATH" in done.stderr
    assert postgresql.password not in done.stdout + done.stderr
    secret = instance.parent / "url"
    secret.write_text(url + "\n")
    done = gearbox("db-migrate", "-c", instance, "--to", f"file:{secret}", "--dry-run")
    assert done.returncode == 0 and "warning" not in done.stderr


# With what URLs, ini files and SQL write otherwise; each is looked for in its spellings.
AWKWARD = "Marker.p/ss&'\"#"


@pytest.mark.parametrize("args", [["--switch"], ["-f", "json", "--debug"]])
@pytest.mark.once
def test_no_secret_is_printed_whatever_goes_wrong(
    postgresql: Any, instance: Path, gearbox: Any, tmp_path: Path, args: list[str]
) -> None:
    text = instance.read_text().replace(
        "[app:main]\n",
        "[app:main]\nsession.encrypt_key = MarkerKey\nsmtp_password = MarkerMail\n",
        1,
    )
    instance.write_text(text)
    log = tmp_path / "log"
    before = [arg for arg in args if arg == "--debug"]
    after = [arg for arg in args if arg != "--debug"]
    name = "postgresql://joe:%s@127.0.0.1:%d/k"
    for url in (
        name % (quote(AWKWARD, safe=""), postgresql.port),
        name % ("MarkerPlain", postgresql.port),
        name % ("MarkerPlain", 1),
        "postgresql://joe:MarkerPlain@127.0.0.1:port/k",
        "what:MarkerPlain@x",
        "mysql://joe:MarkerPlain@127.0.0.1:1/k",
        "oracle://joe:MarkerPlain@127.0.0.1/k",
    ):
        done = gearbox(
            *before,
            "--log-file",
            log,
            "db-migrate",
            "-c",
            instance,
            "--to",
            "env:TARGET",
            *after,
            env=dict(os.environ, TARGET=url),
        )
        assert done.returncode in (2, 3), (url, done.stderr)
        assert "unexpected" not in done.stderr, (url, done.stderr)
        for text in (done.stdout, done.stderr, log.read_text()):
            assert "Marker" not in text, (url, text)
        if not before:
            assert len(done.stderr.strip().splitlines()) == 1, (url, done.stderr)


@pytest.mark.once
def test_a_secret_of_the_old_url_is_not_in_the_diff(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    moved = postgresql.url("old_secret")
    assert migrate(instance, moved, "--switch").returncode == 0
    instance.write_text(
        instance.read_text().replace(
            "sqlalchemy.url = postgresql",
            "session.encrypt_key = MarkerNext\nsqlalchemy.url = postgresql",
            1,
        )
    )
    done = migrate(instance, f"sqlite:///{instance.parent / 'back.db'}", "--switch")
    assert done.returncode == 0, done.stderr
    assert "-sqlalchemy.url = postgresql://kallithea:***@" in done.stderr
    assert (
        postgresql.password not in done.stdout + done.stderr
        and "Marker" not in done.stdout + done.stderr
    )
    # The way back of the runbook: what was written in PostgreSQL is in the new file.
    assert "back.db" in instance.read_text()
