"""Ini files and database URLs that cannot be used: the same true sentence from each command, with
status 2, before anything is done.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import pytest

COMMANDS = {
    "perf-check": [],
    "static-export": ["{here}/static"],
    "db-migrate": ["--to", "sqlite:///{here}/new.db"],
}
APP = "[app:main]\nuse = egg:kallithea\n"
INIS = {
    "a byte order mark": (
        b"\xef\xbb\xbf" + APP.encode(),
        "begins with a byte order mark, which PasteDeploy does not read; save it without one",
    ),
    "Latin-1": (
        APP.encode() + b"# caf\xe9\n",
        "is not text in UTF-8: see line 3, or save it as UTF-8",
    ),
    "UTF-16": (APP.encode("utf-16"), "is not text in UTF-8: see line 1, or save it as UTF-8"),
    "a NUL": (APP.encode() + b"a = b\0c\n", "has a NUL character in line 3; remove it"),
    "nothing": (b" \n\n", "is empty"),
    "get of what is not there": (
        APP.encode() + b"get smtp_server = mail\n",
        ": 'get smtp_server = mail' in [app:main] refers to an option that [DEFAULT] does not have;"
        " add mail there",
    ),
    "get in another section": (
        b"[app:main]\nuse = other\n[app:other]\nuse = egg:kallithea\nget a = b\n",
        ": 'get a = b' in [app:other] refers to an option that [DEFAULT] does not have; "
        "add b there",
    ),
    "a pipe behind use": (
        b"[app:main]\nuse = config:pipe.ini\n",
        "does not load: it uses {here}/pipe.ini, which is not a regular file",
    ),
    "a directory behind use": (
        b"[app:main]\nuse = config:/etc\n",
        "does not load: it uses /etc, which is a directory; give the ini file in it",
    ),
    "a byte order mark behind use": (
        b"[app:main]\nuse = config:marked.ini\n",
        "does not load: it uses {here}/marked.ini, which begins with a byte order mark",
    ),
    "a broken reference": (
        APP.encode() + b"a = %(nowhere)s\n",
        ": the option a in [app:main] has a broken %(...)s reference",
    ),
    "an option twice": (
        APP.encode() + b"use = egg:other\n",
        "has the option use twice in [app:main] (line 3)",
    ),
}
# The password must not come back.
LOGIN = "me:hidden-one@127.0.0.1"
URLS = {
    f"mysql://{LOGIN}:1/d?foo=bar": "the driver refuses ?foo=: ",
    f"mysql+pymysql://{LOGIN}:1/d?foo=bar": "the driver refuses ?foo=: ",
    f"postgresql://{LOGIN}:1/d?foo=bar": "the driver refuses ?foo=: invalid dsn: invalid ",
    f"mysql://{LOGIN}:1/d?use_unicode=perhaps": "has an argument that cannot be used: ",
    "sqlite:////x.db?timeout=soon": "has an argument that cannot be used: ",
    f"postgresql://{LOGIN}:port/d": "is not a database URL: its port is not a number; give one ",
    f"postgresql://{LOGIN}:99999/d": "has the port 99999; a port is from 1 to 65535",
    f"postgresql+nosuch://{LOGIN}/d": "has the unknown database dialect 'postgresql+nosuch'",
    f"nosuch://{LOGIN}/d": "has the unknown database dialect 'nosuch'",
    f"oracle://{LOGIN}/d": "is not installed (No module named 'cx_Oracle')",
    "hello world": "is not a database URL; give one such as postgresql://user@localhost/kallithea",
    "sqlite:////etc": "/etc is a directory, not a SQLite file",
    "sqlite:////x\x1b[31m.db": "has a control character; write it on one line, without any",
}


@pytest.fixture
def refused(gearbox: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run a command that has to fail with status 2; return its one sentence."""

    def run(command: str, *words: object, more: Optional[Sequence[str]] = None) -> str:
        more = COMMANDS[command] if more is None else more
        words = (*words, *(word.format(here=tmp_path) for word in more))
        result = gearbox(command, *words, cwd=str(tmp_path), timeout=120)
        assert (result.returncode, result.stdout) == (2, ""), result.stderr
        (last,) = result.stderr.splitlines()
        assert last.startswith(f"gearbox {command}: ") and "hidden-one" not in result.stderr
        return str(last)

    return run


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", INIS)
def test_an_ini_file_is_refused_in_the_same_words_by_each_command(refused, tmp_path, kind, command):
    content, said = INIS[kind]
    ini = tmp_path / "my.ini"
    ini.write_bytes(content)
    os.mkfifo(str(tmp_path / "pipe.ini"))
    (tmp_path / "marked.ini").write_bytes(INIS["a byte order mark"][0])
    last = refused(command, "-c", ini)
    assert str(ini) in last and said.format(here=tmp_path) in last


@pytest.mark.parametrize("command", ["db-migrate", "static-export"])
def test_one_ini_file_is_enough(gearbox, tmp_path, command):
    result = gearbox(command, "-c", "one.ini", "-c", "two.ini", cwd=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.endswith("error: argument -c/--config: it is given twice\n")


def test_a_hash_in_the_path_is_no_application(refused, tmp_path):
    (tmp_path / "a#b").mkdir()
    ini = tmp_path / "a#b" / "my.ini"
    ini.write_text(APP + "get a = b\n[app:other]\nuse = egg:kallithea\nget c = d\n")
    assert "'get a = b'" in refused("perf-check", "-c", ini)
    assert "'get c = d'" in refused("perf-check", "-c", f"{ini}#other")
    assert "No section 'none'" in refused("perf-check", "-c", f"config:{ini}#none")
    missing = tmp_path / "a#b" / "none.ini"
    assert "does not exist" in refused("perf-check", "-c", missing)


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_refused_in_one_sentence_without_its_password(url):
    from kallithea_tune.db.engine import require_accepted
    from kallithea_tune.db_migrate.connect import source_engine, target_engine
    from kallithea_tune.db_migrate.driver_errors import open_connection
    from kallithea_tune.errors import ConfigError

    for option, use in (
        ("--compare-db", lambda: require_accepted(url, "--compare-db")),
        ("--to", lambda: open_connection(target_engine(url), "--to")),
        ("sqlalchemy.url", lambda: open_connection(source_engine(url), "sqlalchemy.url")),
    ):
        with pytest.raises(ConfigError) as error:
            use()
        said = str(error.value)
        assert option in said and URLS[url] in said
        assert "hidden-one" not in said and "\n" not in said


def test_a_character_set_that_the_driver_does_not_know_is_refused():
    from kallithea_tune.db.engine import require_accepted
    from kallithea_tune.errors import ConfigError

    with pytest.raises(ConfigError, match="^sqlalchemy.url: the driver refuses .charset=: "):
        require_accepted(f"mysql+pymysql://{LOGIN}:1/d?charset=nosuch")


@pytest.mark.once
def test_a_url_is_refused_in_the_same_words_wherever_it_is(gearbox, refused, pristine, tmp_path):
    said = "the driver refuses ?foo=: 'foo' is an invalid keyword argument for connect()"
    (tmp_path / "url").write_text(f"mysql://{LOGIN}:1/d?foo=bar\n")
    argument = f"file:{tmp_path / 'url'}"
    refusals = [
        refused("perf-check", "-c", pristine / "my.ini", "--compare-db", argument),
        refused("db-migrate", "-c", pristine / "my.ini", "--to", argument, more=()),
    ]
    ini = tmp_path / "my.ini"
    ini.write_text(f"{APP}sqlalchemy.url = mysql://{LOGIN}:1/d?foo=bar\n")
    refusals += [refused(command, "-c", ini) for command in ("db-migrate", "static-export")]
    assert [last.split(": ", 1)[1] for last in refusals] == [
        f"{option}: {said}"
        for option in ("--compare-db", "--to", "sqlalchemy.url", "sqlalchemy.url")
    ]
    checked = gearbox("perf-check", "-c", ini, "--only", "DB000", "-f", "json")
    (finding,) = json.loads(checked.stdout)
    assert (checked.returncode, finding["severity"]) == (1, "error")
    assert finding["diagnosis"] == f"the database cannot be read: sqlalchemy.url: {said}"
