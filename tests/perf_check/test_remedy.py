"""Remedies as they are printed, with secrets masked, and as machines read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.config.redact import Redactor
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import (
    Command,
    IniEdit,
    Option,
    Statements,
    Steps,
    actions,
    as_user,
    placed,
    redacted,
    steps_of,
)
from kallithea_tune.perf_check.report import COLUMNS, rows

EDIT = IniEdit(
    (
        Option("app:main", "sqlalchemy.url", "postgresql://k:hunter2hunter2@db/k"),
        Option("app:main", "old"),
        Option("server:main", "threads", "1"),
    ),
    note="one thread",
)
GC = Command(("/usr/bin/git", "gc"), directory="/srv/my repos/a")
SQL = Statements("ANALYZE; -- hunter2hunter2", ("psql", "-d", "k"), stopped=True)
REDACTOR = Redactor({"hunter2hunter2"})


def test_each_kind_is_printed_as_what_an_admin_would_type() -> None:
    assert str(Steps((EDIT, GC, SQL), "in turn")) == (
        "in turn: one thread: set sqlalchemy.url = postgresql://k:hunter2hunter2@db/k, remove old "
        "in [app:main]; set threads = 1 in [server:main]; "
        "cd '/srv/my repos/a' && /usr/bin/git gc; "
        "stop Kallithea, then: psql -d k 'ANALYZE; -- hunter2hunter2'"
    )


def test_what_is_shown_holds_no_secret_and_stays_a_value() -> None:
    shown = redacted(Steps((EDIT, GC, SQL)), REDACTOR)
    assert "hunter2" not in repr(shown)
    assert [type(step) for step in steps_of(shown)] == [IniEdit, Command, Statements]
    assert "set sqlalchemy.url = postgresql://k:***@db/k, remove old" in str(shown)
    assert redacted("write hunter2hunter2", REDACTOR) == "write ***"


def test_a_secret_that_a_remedy_brings_is_masked_wherever_it_stands() -> None:
    new = IniEdit((Option("app:main", "session.secret", "k33p-th1s-cl0se"),), "k33p-th1s-cl0se")
    after = Command(("echo", "k33p-th1s-cl0se"))
    assert "k33p" not in repr(redacted(Steps((after, new)), Redactor()))


def test_commands_run_as_the_owner_unless_they_say_otherwise() -> None:
    other = Command(("id",), user="postgres")
    steps = steps_of(as_user(Steps((EDIT, GC, other)), "kallithea"))
    assert [getattr(step, "user", None) for step in steps] == [None, "kallithea", "postgres"]
    assert str(as_user(GC, "kallithea")) == (
        "cd '/srv/my repos/a' && sudo -u kallithea /usr/bin/git gc"
    )
    assert as_user("call somebody", "kallithea") == "call somebody"


@pytest.mark.parametrize(
    "option, found",
    [
        (Option("app:main", "a", "1"), [Option("app:main", "a", "1")]),
        (Option("app:main", "b", "1"), [Option("app:main", "set b", "1")]),
        (Option("app:main", "d", "1"), [Option("DEFAULT", "d", "1")]),
        (Option("app:main", "g", "1"), [Option("app:main", "g", "1"), Option("app:main", "get g")]),
        (Option("app:main", "b"), [Option("app:main", "set b")]),
        (Option("app:main", "d"), [Option("DEFAULT", "d")]),
        (Option("app:main", "none"), [Option("app:main", "none")]),
        (Option("server:main", "d", "1"), [Option("server:main", "d", "1")]),
    ],
)
def test_options_are_set_where_they_are(tmp_path: Path, option: Option, found: object) -> None:
    ini = tmp_path / "my.ini"
    ini.write_text(
        "[DEFAULT]\nd = 0\n[app:main]\nuse = egg:Kallithea\na = 0\nset b = 0\nget g = d\n"
    )
    edit = placed(IniEdit((option,)), load(str(ini)))
    assert isinstance(edit, IniEdit) and list(edit.options) == found


def test_machines_get_every_step_with_its_effect() -> None:
    found = Finding(Severity.error, "x", remedy=Steps((EDIT, GC, SQL)), exact=EDIT)
    row = dict(zip(COLUMNS, rows([found])[0]))
    edit, command, sql = json.loads(json.dumps(row["actions"]))
    assert edit["options"][1] == {"section": "app:main", "name": "old", "value": None}
    assert command == {
        "kind": "command",
        "words": ["/usr/bin/git", "gc"],
        "directory": "/srv/my repos/a",
        "user": "",
        "stopped": False,
        "effect": "lasting",
        "note": "",
    }
    assert (sql["kind"], sql["stopped"], edit["effect"]) == ("sql", True, "reversible")
    assert actions("only words") == []
