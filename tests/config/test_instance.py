"""What we read from an ini file is what PasteDeploy gives the application."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from paste.deploy import appconfig

from kallithea_tune.config.instance import load
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import ConfigError

BASE = """\
[DEFAULT]
email_to = all@example.com
shared = %(here)s/shared

[app:main]
use = egg:Paste#static
cache_dir = %(here)s/data
percent = 100%%
"""

FORMS = {
    "plain": BASE,
    "here in a default": BASE + "index_dir = %(shared)s/index\n",
    "option that DEFAULT has, too": BASE + "email_to = me@example.com\n",
    "set": BASE + "set email_to = me@example.com\n",
    "get": BASE + "get mail = email_to\n",
    "use another section": BASE.replace("app:main", "app:base")
    + "[app:main]\nuse = base\ncache_dir = /other\n",
    "use another file": "[app:main]\nuse = config:other.ini#side\nextra = %(here)s\n",
    "use another file's main": "[app:main]\nuse = config:other.ini\nroot = mine\n",
}
OTHER = (
    "[DEFAULT]\nroot = %(here)s/other\n"
    + BASE.replace("[DEFAULT]", "").replace("[app:main]", "[app:main]\n")
    + "[app:side]\nuse = egg:Paste#static\nside = %(root)s\n"
)


@pytest.mark.parametrize("form", FORMS)
def test_settings_are_what_pastedeploy_gives(tmp_path: Path, form: str) -> None:
    (tmp_path / "my.ini").write_text(FORMS[form])
    (tmp_path / "other.ini").write_text(OTHER)
    expected = appconfig("config:{}".format(tmp_path / "my.ini"))
    assert dict(load(str(tmp_path / "my.ini")).settings) == dict(expected)


def test_sections_behind_a_name_a_filter_and_a_pipeline_are_followed(tmp_path: Path) -> None:
    ini = tmp_path / "my.ini"
    filters = (
        "[filter:prefix]\nuse = egg:PasteDeploy#prefix\nprefix = /x\n"
        "[pipeline:line]\npipeline = prefix main\n"
    )
    ini.write_text(BASE + "filter-with = prefix\n" + filters)
    for name in ("main", "line"):
        loaded = load(f"config:{ini}#{name}")
        assert loaded.use == "egg:Paste#static" and loaded.prefix == "/x"
        assert loaded.settings["cache_dir"] == str(tmp_path / "data")
        assert loaded.section == "app:main"


def test_a_factory_named_outright_is_not_imported(tmp_path: Path) -> None:
    ini = tmp_path / "my.ini"
    ini.write_text("[app:main]\npaste.app_factory = no_such_module:make\nkey = value\n")
    loaded = load(str(ini))
    assert (loaded.use, loaded.settings["key"]) == ("call:no_such_module:make", "value")


@pytest.mark.parametrize(
    "key, section, option",
    [
        ("cache_dir", "app:main", "cache_dir"),
        ("email_to", "app:main", "email_to"),
        ("server:main.threads", "server:main", "threads"),
        ("app:main.percent", "app:main", "percent"),
    ],
)
def test_changes_are_made_in_memory_as_if_written(
    tmp_path: Path, key: str, section: str, option: str
) -> None:
    ini = tmp_path / "my.ini"
    text = BASE + "get percent = email_to\n[server:main]\nuse = egg:waitress\nthreads = 5\n"
    ini.write_text(text)
    loaded = load(str(ini))
    assert loaded.place(key) == (section, option)
    proposed = loaded.with_settings({key: "%(here)s/new"})
    values = proposed.server if section == "server:main" else proposed.settings
    assert values[option] == str(tmp_path / "new")
    assert ini.read_text() == text and loaded.with_settings({}).settings == loaded.settings


def test_a_database_is_opened_read_only_and_never_made(tmp_path: Path) -> None:
    path = tmp_path / "a database%20#.db"
    with sqlite3.connect(str(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    before = sorted(item.name for item in tmp_path.iterdir())
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    with read_only_engine(f"sqlite:///{path}?timeout=60").connect() as reading:
        assert reading.execute(text("SELECT count(*) FROM t")).fetchone()[0] == 0
        with pytest.raises(OperationalError, match="readonly"):
            reading.execute(text("INSERT INTO t VALUES (1)"))
    with pytest.raises(OperationalError, match="unable to open"):
        read_only_engine("sqlite:///{}".format(tmp_path / "none.db")).connect()
    assert sorted(item.name for item in tmp_path.iterdir()) == before


def test_engine_errors_are_sentences() -> None:
    for url, message in (
        ("", "is empty"),
        ("oraculum://x/y", "unknown database dialect"),
        ("nonsense", "not a database"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_only_engine(url)
