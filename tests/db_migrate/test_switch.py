from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kallithea_tune.config import instance as instances
from kallithea_tune.config import locate
from kallithea_tune.db_migrate import Migration, journal, switch
from kallithea_tune.db_migrate.target import Target
from kallithea_tune.errors import ConfigError, Refused, TuneError

NEW = "postgresql://joe:secret-word@db.example.com/kallithea"
APP = "[app:main]\nuse = egg:kallithea\n"

PLACES = {
    "in the section": (
        {"my.ini": APP + "# the database\nsqlalchemy.url = old\ndebug = false\n"},
        "my.ini",
        "app:main",
    ),
    "in DEFAULT": ({"my.ini": "[DEFAULT]\nsqlalchemy.url = old\n\n" + APP}, "my.ini", "DEFAULT"),
    "in DEFAULT, which counts, and in the section": (
        {"my.ini": "[DEFAULT]\nsqlalchemy.url = old\n\n" + APP + "sqlalchemy.url = ignored\n"},
        "my.ini",
        "DEFAULT",
    ),
    "in another file": (
        {
            "my.ini": "[app:main]\nuse = config:base.ini\ndebug = false\n",
            "base.ini": APP + "sqlalchemy.url = old\n",
        },
        "base.ini",
        "app:main",
    ),
    "in another file's other application": (
        {
            "my.ini": "[app:main]\nuse = config:base.ini#web\n",
            "base.ini": APP.replace("main", "web") + "sqlalchemy.url = old\n",
        },
        "base.ini",
        "app:web",
    ),
    "in another section": (
        {
            "my.ini": "[app:main]\nuse = web\n\n"
            + APP.replace("main", "web")
            + "sqlalchemy.url = old\n"
        },
        "my.ini",
        "app:web",
    ),
    "in the section that overrides another file": (
        {
            "my.ini": "[app:main]\nuse = config:base.ini\nsqlalchemy.url = old\n",
            "base.ini": APP + "sqlalchemy.url = older\n",
        },
        "my.ini",
        "app:main",
    ),
    "behind a filter": (
        {
            "my.ini": "[app:main]\nuse = egg:kallithea\nfilter-with = proxy\n"
            "sqlalchemy.url = old\n\n"
            "[filter:proxy]\nuse = egg:PasteDeploy#prefix\nprefix = /k\n"
        },
        "my.ini",
        "app:main",
    ),
    "in a pipeline": (
        {
            "my.ini": "[pipeline:main]\npipeline = proxy web\n\n"
            "[filter:proxy]\nuse = egg:PasteDeploy#prefix\n\n"
            + APP.replace("main", "web")
            + "sqlalchemy.url = old\n"
        },
        "my.ini",
        "app:web",
    ),
}


@pytest.mark.parametrize("files, where, section", PLACES.values(), ids=PLACES.keys())
def test_the_line_that_counts_is_changed_and_nothing_else(
    tmp_path: Path, files: dict[str, str], where: str, section: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    loaded = instances.load(str(tmp_path / "my.ini"))
    assert loaded.database_url == "old"
    assert locate.find(loaded, "sqlalchemy.url") == (str(tmp_path / where), section)
    edit = switch.plan(loaded, NEW)
    backup = switch.apply(edit, loaded, NEW)
    assert instances.load(str(tmp_path / "my.ini")).database_url == NEW
    assert Path(backup).read_text() == files[where]
    assert Path(backup).parent == tmp_path
    for name, text in files.items():
        expected = (
            text.replace("sqlalchemy.url = old\n", f"sqlalchemy.url = {NEW}\n")
            if name == where
            else text
        )
        assert (tmp_path / name).read_text() == expected


@pytest.mark.parametrize("form", ["set", "get"])
def test_what_paste_sets_in_its_own_way_is_left_to_the_admin(tmp_path: Path, form: str) -> None:
    ini = tmp_path / "my.ini"
    ini.write_text("[DEFAULT]\nother = old\n" + APP + f"{form} sqlalchemy.url = other\n")
    with pytest.raises(ConfigError, match="by hand"):
        locate.find(instances.load(str(ini)), "sqlalchemy.url")


def test_an_edit_without_effect_is_taken_back(tmp_path: Path) -> None:
    from kallithea_tune.config import inifile

    ini = tmp_path / "my.ini"
    ini.write_text(APP + "sqlalchemy.url = old\n\n[app:other]\nuse = egg:kallithea\n")
    loaded = instances.load(str(ini))
    with pytest.raises(TuneError, match="no effect"):
        switch.apply(inifile.plan(str(ini), "app:other", {"sqlalchemy.url": NEW}), loaded, NEW)
    assert "secret-word" not in ini.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["my.ini"]


@pytest.mark.parametrize(
    "given, written",
    [
        ("postgresql://joe:pass@db/k", "postgresql://joe:pass@db/k"),
        ("mysql+pymysql://joe:pass@db/k", "mysql+pymysql://joe:pass@db/k?charset=utf8mb4"),
        (
            "mysql+pymysql://joe@db/k?read_default_file=/etc/k.cnf",
            "mysql+pymysql://joe@db/k?read_default_file=/etc/k.cnf&charset=utf8mb4",
        ),
        (
            "mysql+pymysql://joe:pass@db/k?charset=utf8",
            "mysql+pymysql://joe:pass@db/k?charset=utf8",
        ),
        ("sqlite:////srv/k.db", "sqlite:////srv/k.db?timeout=60"),
        ("sqlite:////srv/k.db?timeout=5", "sqlite:////srv/k.db?timeout=5"),
    ],
)
def test_the_url_is_written_as_kallithea_needs_it(given: str, written: str) -> None:
    assert switch.application_url(given) == written


def test_an_installed_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "MySQLdb" else find(name)
    )
    for given in ("mysql://joe:pass@db/k", "mariadb://joe:pass@db/k"):
        assert switch.application_url(given) == "mysql+pymysql://joe:pass@db/k?charset=utf8mb4"


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert switch.application_url("sqlite:///new.db") == "sqlite:///{}?timeout=60".format(
        tmp_path / "new.db"
    )


def test_an_encoded_password_is_refused_with_what_to_do() -> None:
    with pytest.raises(Refused, match=r"does not start.*pgpass"):
        switch.application_url("postgresql://joe:p%40ss@db/k")


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("sqlite:////srv/../srv/k.db?timeout=60", "sqlite:////srv/k.db", True),
        ("sqlite:////srv/k.db", "sqlite:////srv/l.db", False),
        ("postgresql://joe:a@localhost/k", "postgresql+psycopg2://ann:b@127.0.0.1:5432/k", True),
        ("postgresql://joe:a@localhost/k", "postgresql://joe:a@localhost:5433/k", False),
        ("postgresql://joe:a@localhost/k", "mysql+pymysql://joe:a@localhost/k", False),
    ],
)
def test_the_same_database_is_recognised(first: str, second: str, same: bool) -> None:
    assert switch.same_database(first, second) is same


@pytest.mark.once
def test_the_switch_is_shown_without_secrets_and_says_how_to_go_back(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    url, before = postgresql.url("switched"), instance.read_text()
    done = migrate(instance, url, "--switch")
    assert done.returncode == 0, done.stderr
    assert "+sqlalchemy.url = postgresql://kallithea:***@127.0.0.1" in done.stderr
    assert postgresql.password not in done.stdout + done.stderr
    assert instance.read_text() == before.replace(
        "sqlite:///%(here)s/kallithea.db?timeout=60", url, 1
    )
    (backup,) = instance.parent.glob("my.ini.2*")
    assert f"cp -p {backup} {instance}" in done.stderr
    assert backup.read_text() == before
    cursor = postgresql.connect("switched").cursor()
    cursor.execute("SELECT to_regclass('kallithea_tune_journal')")
    assert cursor.fetchone() == (None,)
    again = migrate(instance, url, "--switch")
    assert (again.returncode, again.stdout) == (0, "") and "nothing to do" in again.stderr
    assert list(instance.parent.glob("my.ini.2*")) == [backup]


def test_an_encoded_password_is_refused_before_anything_is_copied(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    url = postgresql.url("encoded")
    done = migrate(
        instance,
        url.replace(
            postgresql.password,
            "%" + f"{ord(postgresql.password[0]):02x}" + postgresql.password[1:],
        ),
        "--switch",
    )
    assert done.returncode == 3 and "pgpass" in done.stderr
    assert postgresql.password[1:] not in done.stderr
    cursor = postgresql.connect("encoded").cursor()
    cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("atomic", [True, False])
def test_an_error_while_the_journal_is_dropped_says_where_the_ini_file_points(
    atomic: bool, instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'moved.db'}"
    before = instance.read_text()

    def locked(connection: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with Migration(instances.load(str(instance)), url) as migration:
        migration.run()
        monkeypatch.setattr(journal, "drop", locked)
        # On a target that is not, a dropped journal cannot be restored when the edit fails.
        monkeypatch.setattr(Target, "atomic", atomic)
        moved = "" if atomic else ", and the ini file points at it"
        with pytest.raises(TuneError, match=f"locked; .*verified{moved}$"):
            migration.cutover.switch(migration.cutover.plan_switch())
    if atomic:
        assert instance.read_text() == before
    else:
        assert str(tmp_path / "moved.db") in instance.read_text()
