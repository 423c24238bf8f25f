from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Any

import psycopg2
import pymysql
import pytest
import sqlalchemy
from terminal import on_terminal

from kallithea_tune.db_migrate import driver_errors, progress
from kallithea_tune.errors import Refused, TuneError


class Working:
    current_step, if_stopped = "copying users", driver_errors.IfStopped.AS_BEFORE

    def cancel(self) -> None:
        pass

    def lock_holders(self) -> str:
        return "the session 42"


@pytest.mark.parametrize(
    "error, message",
    [
        (
            pymysql.err.IntegrityError(1062, "Duplicate entry 'hush' for key 'users.api_key'"),
            "Duplicate entry *** for key 'users.api_key'",
        ),
        (
            pymysql.err.DataError(1406, "Data too long for column 'username' at row 1"),
            "Data too long for column 'username' at row 1",
        ),
        (
            pymysql.err.DataError(
                1366, "Incorrect integer value: 'hush' for column 'admin' at row 3"
            ),
            "Incorrect integer value: *** for column 'admin' at row 3",
        ),
        (
            pymysql.err.DataError(
                1366, "Incorrect integer value: 'hush 'it'\n' hush' for column `a`.`b` at row 3"
            ),
            "Incorrect integer value: *** for column `a`.`b` at row 3",
        ),
        (
            psycopg2.DataError('value "hush" is out of range for type integer'),
            "value *** is out of range for type integer",
        ),
        (
            pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"),
            "a table stays locked by the session 42, which has to end first "
            "(Lock wait timeout exceeded)",
        ),
        (
            psycopg2.errors.UniqueViolation(
                'duplicate key value violates unique constraint "uq_users"\n'
                "DETAIL:  Key (api_key)=(hush) already exists.\n"
                'CONTEXT:  COPY users, line 3: "hush"'
            ),
            'duplicate key value violates unique constraint "uq_users"',
        ),
        (
            psycopg2.DataError(
                'invalid input syntax for type integer: "hush"\nCONTEXT:  COPY users'
            ),
            "invalid input syntax for type integer: ***",
        ),
        (
            sqlalchemy.exc.IntegrityError(
                "INSERT ...",
                {"password": "hush"},
                psycopg2.errors.NotNullViolation(
                    'null value in column "x"\nDETAIL:  Failing row contains (hush).'
                ),
            ),
            'null value in column "x"',
        ),
    ],
)
def test_messages_and_tracebacks_of_drivers_come_without_rows(error: Any, message: str) -> None:
    with pytest.raises(TuneError) as raised, driver_errors.translated(Working()):
        raise error
    assert str(raised.value) == (
        f"the migration stopped while copying users: {message}; the target is as it was before"
    )
    shown = "".join(
        traceback.format_exception(type(raised.value), raised.value, raised.value.__traceback__)
    )
    assert "hush" not in shown and "test_messages_and_tracebacks" in shown


def test_the_first_of_several_errors_is_reported() -> None:
    with pytest.raises(TuneError, match="connection lost"), driver_errors.translated(Working()):
        try:
            raise psycopg2.OperationalError("connection lost")
        finally:
            raise psycopg2.InterfaceError("connection already closed")


def test_other_errors_are_left_alone_and_ctrl_c_says_what_is_left() -> None:
    with pytest.raises(Refused, match="^no$"), driver_errors.translated(Working()):
        raise Refused("no")
    with pytest.raises(KeyError), driver_errors.translated(Working()):
        raise KeyError("ours")
    with pytest.raises(
        KeyboardInterrupt, match="while copying users; the target is"
    ), driver_errors.translated(Working()):
        raise KeyboardInterrupt


def test_cron_gets_a_line_for_each_step_and_quiet_nothing() -> None:
    stream = io.StringIO()
    for shown in (progress.for_stream(stream), progress.for_stream(stream, quiet=True)):
        shown.begin("copying", 100)
        shown.advance(50, "users", 100)
        shown.end()
    assert stream.getvalue() == "copying ...\n"


DRAWING = """
import sys, time
from kallithea_tune.db_migrate import progress
if sys.argv[1] == "plain":
    progress.importlib.util.find_spec = lambda name: None
shown = progress.ProgressTracker(progress.for_stream(sys.stderr))
shown.table_rows = {"users": 100, "user_logs": 1000}
shown.begin("copying", 1100)
for table, number in (("users", 100), ("user_logs", 400), ("user_logs", 600)):
    time.sleep(0.15)
    shown.advance(number, table)
shown.begin("comparing pages")
time.sleep(0.15)
shown.end()
"""


@pytest.mark.parametrize(
    "kind, seen",
    [
        ("plain", ["copying  users", "user_logs  45 %", "/s", "left", "comparing pages"]),
        ("bars", ["copying", "  user_logs", "1.10k", "comparing pages ..."]),
    ],
)
def test_a_terminal_gets_bars_with_rates_and_time_left(kind: str, seen: list[str]) -> None:
    environment = dict(os.environ, COLUMNS="100", LINES="24", TERM="xterm")
    status, text, printed = on_terminal([sys.executable, "-c", DRAWING, kind], env=environment)
    assert status == 0 and printed == b""
    assert [part for part in seen if part not in text] == [], repr(text)
    # No rate of what is not counted.
    assert "?" not in text[text.index("comparing pages") :], repr(text)
    # Nothing stays.
    assert text.endswith(("\r\033[K", "\r", "\033[A")), repr(text[-80:])
