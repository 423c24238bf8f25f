"""A visit to the real application: its answers and their cost, and that it changes nothing."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import Callable

import psutil
import pytest

from kallithea_tune.app import visit
from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured


def _tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha1(path.read_bytes()).hexdigest()
        if path.is_file()
        else "directory"
        for path in sorted(root.rglob("*"))
    }


def test_pages_are_answered_and_their_statements_counted(instance: Path) -> None:
    before = _tree(instance.parent)
    seen = visit.visit(
        load(str(instance)),
        [
            visit.Request("/"),
            visit.Request("/hg-one"),
            visit.Request("/no-such-page"),
            visit.Request("/"),
        ],
        120,
        rounds=2,
    )
    assert [answer.status for answer in seen.answers] == [200, 200, 404, 200]
    assert all(len(answer.ms) == 2 for answer in seen.answers) and seen.start_ms > 0
    front = seen.answers[0]
    # Kallithea asks for settings, users and permissions for every page.
    assert front.statements > 5 and 0 < front.sql_ms < front.ms[1]
    assert _tree(instance.parent) == before


def test_pages_that_want_a_login_are_read_as_the_first_admin(instance: Path) -> None:
    import sqlite3

    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE users SET active = 0 WHERE username = 'default'")
    connection.close()
    seen = visit.visit(load(str(instance)), [visit.Request("/hg-one")], 120)
    assert seen.signed_in and seen.answers[0].status == 200


TOY = """
import logging, os, sys
from sqlalchemy import create_engine, text

def make(global_conf, start="", **settings):
    if start == "exit":
        logging.getLogger("toy").error("the toy\\nis broken")
        sys.exit(1)
    if start:
        raise ValueError("no toy\\nmore")
    return application

def application(environ, start_response):
    if environ["PATH_INFO"] == "/endless":
        with create_engine("sqlite://").connect() as connection:
            connection.execute(text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                "SELECT count(*) FROM n"
            )).fetchone()
    if environ["PATH_INFO"] == "/raises":
        raise RuntimeError("broken on purpose\\nand more")
    body = environ["wsgi.input"].read()
    method = environ["REQUEST_METHOD"]
    start_response("200 OK", [
        ("Content-Type", "text/html"), ("X-Method", method), ("X-Pid", str(os.getpid())),
    ])
    return [b"", environ.get("CONTENT_TYPE", "").encode() + body]
"""

WALKER = """
from typing import NamedTuple, Tuple

class Word(NamedTuple):
    text: str
    times: int

class Walk(NamedTuple):
    status: int
    method: str
    body: str
    arrived: Tuple[int, ...]

def walk(browser, path, word: Word) -> Walk:
    arrived = []
    reply = browser.send(
        path,
        {"Content-Type": "text/toy"},
        (word.text * word.times).encode(),
        lambda: arrived.append(1),
    )
    return Walk(reply.status, reply.headers["x-method"], reply.body.decode(), tuple(arrived))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A configurable application; returns its ini file."""
    (tmp_path / "toy_application.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)

    def configured(start: str) -> Path:
        ini = tmp_path / "toy.ini"
        ini.write_text(f"[app:main]\npaste.app_factory = toy_application:make\nstart = {start}\n")
        return ini

    return configured


def test_an_exception_is_an_answer_of_500_with_its_message(toy: Callable[[str], Path]) -> None:
    seen = visit.visit(load(str(toy(""))), [visit.Request("/raises"), visit.Request("/")], 60)
    assert [(answer.status, answer.failed) for answer in seen.answers] == [
        (500, "RuntimeError: broken on purpose"),
        (200, ""),
    ]


@pytest.mark.parametrize(
    "start, kind, message",
    [("exit", "SystemExit", "the toy is broken"), ("raise", "ValueError", "no toy")],
)
def test_a_failure_to_load_comes_with_its_reason(
    toy: Callable[[str], Path], start: str, kind: str, message: str
) -> None:
    instance = load(str(toy(start)))
    with visit.visitor(instance, {}) as visitor:
        for failing in (
            lambda: visit.visit(instance, [visit.Request("/")], 60),
            lambda: visitor.visit([visit.Request("/")], 60),
        ):
            with pytest.raises(DoesNotLoad) as raised:
                failing()
            assert (raised.value.kind, raised.value.message) == (kind, message)


def test_one_process_is_visited_again_after_a_statement_that_never_ends(
    toy: Callable[[str], Path],
) -> None:
    with visit.visitor(load(str(toy(""))), {}) as visitor:
        first = visitor.visit([visit.Request("/"), visit.Request("/endless")], 1)
        assert [answer.status for answer in first.answers] == [200, 0]
        assert [late.number for late in first.unanswered] == [1]
        # The statement was cancelled, and not left running.
        pid = int(first.answers[0].headers["x-pid"])
        assert psutil.Process(pid).num_threads() == 1
        (second,) = visitor.visit([visit.Request("/")], 30).answers
    assert second.status == 200 and int(second.headers["x-pid"]) == pid
    assert not psutil.pid_exists(pid)


def test_a_visitor_that_is_killed_has_no_more_answers(toy: Callable[[str], Path]) -> None:
    with visit.visitor(load(str(toy(""))), {}) as visitor:
        visitor.kill()
        with pytest.raises(NotMeasured, match="SIGKILL"):
            visitor.visit([visit.Request("/")], 30)


def test_a_walk_has_the_browser_to_itself(toy: Callable[[str], Path]) -> None:
    ini = toy("")
    (ini.parent / "walker.py").write_text(WALKER)
    walk: Callable[..., object] = importlib.import_module("walker").walk
    request = visit.Request("/post", walk=walk, arguments={"word": {"text": "teddy", "times": 2}})
    (answer,) = visit.visit(load(str(ini)), [request], 60).answers
    # Argument and result are the named tuples of the function's annotations.
    assert answer.result_of(walk) == (200, "POST", "text/toyteddyteddy", (1,))
    assert type(answer.result_of(walk)).__name__ == "Walk" and answer.status == 0


def test_a_request_without_time_has_no_result() -> None:
    with pytest.raises(NotMeasured, match="no time left"):
        visit.Answer("/").result_of(os.getpid)
