from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from environment import BIN
from waiting import until

from kallithea_tune.app.visit import Answer
from kallithea_tune.config import instance as instances
from kallithea_tune.config.redact import Redactor
from kallithea_tune.db_migrate import Migration, report, switch
from kallithea_tune.db_migrate.verify import application, page_difference
from kallithea_tune.errors import TuneError
from kallithea_tune.system import child

DATE = '<span title="2026-11-24 18:28:43">%s</span>'


@pytest.mark.parametrize(
    "before, other, after, found",
    [
        ("same", "same", "same", None),
        ("same", "other", "same", (1, "same", "other")),
        ("a\nb", "a", "a\nb", (2, "b", "")),
        ("a", "a\nb", "a", (2, "", "b")),
        # Ages, whatever units they are in.
        (
            DATE % "6 minutes and 59 seconds ago",
            DATE % "7 minutes ago",
            DATE % "7 minutes and 1 second ago",
            None,
        ),
        (
            DATE % "6 seconds ago",
            DATE.replace("24", "25") % "7 seconds ago",
            DATE % "8 seconds ago",
            (1, DATE % "6 seconds ago", DATE.replace("24", "25") % "7 seconds ago"),
        ),
        # Tokens and process ids, in text and in tags.
        ("Server instance: vm-1", "Server instance: vm-2", "Server instance: vm-3", None),
        ('<input value="123"> x', '<input value="45"> x', '<input value="6789"> x', None),
        (
            '<input value="123"> x',
            '<input value="45"> y',
            '<input value="6789"> x',
            (1, '<input value="123"> x', '<input value="45"> y'),
        ),
        (
            '<input id="a" value="123">',
            '<input id="b" value="45">',
            '<input id="a" value="6789">',
            (1, '<input id="a" value="123">', '<input id="b" value="45">'),
        ),
        ("<b>", "<i>", "<b>", (1, "<b>", "<i>")),
    ],
)
def test_what_is_the_same_in_both_answers_of_the_source_must_be_on_the_target(
    before: str, other: str, after: str, found: Any
) -> None:
    seen = page_difference.first_difference(before, other, after)
    assert seen == (
        found
        and (found[0], page_difference.shortened(found[1]), page_difference.shortened(found[2]))
    )


def test_secrets_of_pages_are_not_shown() -> None:
    shown = '<a href="/rss?api_key=***">'
    assert page_difference.first_difference("x", shown.replace("***", "abcdefgh"), "x") == (
        1,
        "x",
        shown,
    )


@pytest.fixture
def moving(instance: Path, tmp_path: Path) -> Any:
    with Migration(
        instances.load(str(instance)), f"sqlite:///{tmp_path / 'moved.db'}"
    ) as migration:
        migration.run()
        yield migration


@pytest.fixture
def moved(instance: Path, tmp_path: Path) -> None:
    """A target that was filled by a run that has ended."""
    url = f"sqlite:///{tmp_path / 'moved.db'}"
    with Migration(instances.load(str(instance)), url) as migration:
        migration.run()


def spoil(migration: Any, statement: str) -> None:
    with sqlite3.connect(migration.target.endpoint.connection.engine.url.database) as connection:
        connection.execute(statement)
    connection.close()


def test_pages_are_the_same_on_both_sides(moving: Any) -> None:
    pages = moving.cutover.compare_pages().pages
    paths = {page.path for page in pages}
    assert paths >= {*application.PAGES, *application.JOURNALS} and len(paths) == len(pages) == 6
    assert any(re.fullmatch(re.escape(application.NEWEST_DAY) + r"\d{8}", path) for path in paths)
    assert all(page.statuses == (200, 200) and not page.difference for page in pages)
    assert not any(page.not_compared for page in pages)


@pytest.mark.parametrize(
    "statement, message",
    [
        (
            "UPDATE user_logs SET action = 'pull' WHERE action LIKE 'started%'",
            "/_admin/journal: line",
        ),
        (
            "UPDATE users SET active = 0 WHERE admin",
            "/_admin/journal: the source answers with status 200, the target with",
        ),
        ("DELETE FROM repositories WHERE repo_name LIKE 'git%'", "/git-"),
        ("DELETE FROM alembic_version", "does not start on the target: it calls sys.exit"),
    ],
)
def test_a_different_answer_is_reported(moving: Any, statement: str, message: str) -> None:
    spoil(moving, statement)
    with pytest.raises(TuneError) as raised:
        moving.cutover.compare_pages()
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.once
def test_of_a_source_being_written_to_only_the_status_is_compared(
    moving: Any, instance: Path
) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE user_logs SET action = 'pull' WHERE action LIKE 'push%'")
    assert any(page.difference for page in moving.cutover.compare_pages().pages)
    spoil(moving, "DELETE FROM repositories WHERE repo_name LIKE 'git%'")
    with pytest.raises(TuneError, match="status 200, the target with"):
        moving.cutover.compare_pages()


def test_comparing_pages_leaves_nothing_behind(moving: Any, instance: Path) -> None:
    def files() -> set[str]:
        return {str(path) for path in instance.parent.rglob("*")}

    before, content = files(), (instance.parent / "kallithea.db").read_bytes()
    moving.cutover.compare_pages()
    assert files() == before and (instance.parent / "kallithea.db").read_bytes() == content
    assert (
        switch.on_target(moving.instance, moving.url).database_url != moving.instance.database_url
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the children of the applications were called for: the database, and the function."""
    seen: list[tuple[str, str]] = []
    call = child.Conversation.call

    def noted(self: Any, function: Any, *args: Any, order: Any) -> Any:
        seen.append((order.settings["sqlalchemy.url"].rpartition("/")[2], function.__name__))
        return call(self, function, *args, order=order)

    monkeypatch.setattr(child.Conversation, "call", noted)
    return seen


SOURCE, TARGET = "kallithea.db?timeout=60", "moved.db?timeout=60"
LOADED, ANSWERED = "load_here", "answer_here"


def caught_up(instance: Path, tmp_path: Path, meanwhile: str = "") -> Any:
    """Catch up as the command does; `meanwhile` is written to the source after its first visit."""
    url = f"sqlite:///{tmp_path / 'moved.db'}"
    with Migration(instances.load(str(instance)), url) as migration:
        migration.cutover.visit_source_early()
        if meanwhile:
            with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
                connection.execute(meanwhile)
            connection.close()
        migration.catch_up()
        return migration.cutover.compare_pages()


def test_each_side_is_loaded_once_and_the_source_visited_before_and_after(
    moved: None, instance: Path, tmp_path: Path, calls: Any
) -> None:
    assert not any(page.difference for page in caught_up(instance, tmp_path).pages)
    assert calls[:3] == [(SOURCE, LOADED), (SOURCE, ANSWERED), (SOURCE, ANSWERED)]
    # Ordinary pages and journals, at the same time.
    both = [(SOURCE, ANSWERED)] * 2 + [(TARGET, ANSWERED)] * 2 + [(TARGET, LOADED)]
    assert sorted(calls[3:8]) == sorted(both)
    # On a busy machine an age may call for one more look, in another process.
    assert calls[8:] in ([], calls[:3])


@pytest.mark.once
def test_a_source_that_was_written_to_is_loaded_again(
    moved: None, instance: Path, tmp_path: Path, calls: Any
) -> None:
    written = "UPDATE user_logs SET action = 'pull' WHERE action LIKE 'push%'"
    assert not any(page.difference for page in caught_up(instance, tmp_path, written).pages)
    assert calls.count((SOURCE, LOADED)) == 2 and calls.count((TARGET, LOADED)) == 1


def test_a_journal_too_long_for_its_time_is_not_compared_and_the_report_says_so(
    moved: None, instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "STOPPED_SECONDS", 0.0)
    result = caught_up(instance, tmp_path)
    because = "the source did not answer within 0 s"
    seen = {page.path: page.not_compared for page in result.pages if page.not_compared}
    assert seen == dict.fromkeys(application.JOURNALS, because)
    lines = list(report.result_lines(result))
    assert any("the same 4 pages as on the source" in line for line in lines)
    assert lines[-2:] == [
        f"Not compared, because {because}: /_admin/journal,",
        "    /_admin/public_journal",
    ]
    document = report.result_document(result)
    assert [page.path for page in document.pages if page.not_compared == because] == list(seen)


def test_a_journal_that_only_the_source_answers_is_a_difference(
    moving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "FAIR_SECONDS", 0.0)
    monkeypatch.setattr(application, "FAIR_TIMES", 0.0)
    with pytest.raises(TuneError, match=r"answers after \d+\.\d s, the target not within 0 s"):
        moving.cutover.compare_pages()


def answer(status: int, body: str = "", location: str = "") -> Answer:
    return Answer("/", status, {"location": location}, body=body, ms=(100.0,) if status else ())


SAME = answer(200, "same")


@pytest.mark.parametrize(
    "source, target, again, difference, not_compared",
    [
        (SAME, SAME, SAME, "", ""),
        (answer(0), SAME, SAME, "", "the source did not answer within 3 s"),
        (answer(0), answer(0), answer(0), "", "the source did not answer within 3 s"),
        (SAME, answer(0), SAME, "the source answers after 0.1 s, the target not within 30 s", ""),
        (SAME, SAME, answer(0), "", "the source answered only once in time; the status is the"),
        (SAME, answer(500), answer(0), "status 200, the target with 500", ""),
        (answer(302, "", "/a"), answer(302, "", "/b"), answer(0), "redirects to another", ""),
        (SAME, answer(200, "other"), SAME, "line 1 is", ""),
    ],
)
def test_what_was_not_answered_in_time_is_never_the_same(
    source: Answer, target: Answer, again: Answer, difference: str, not_compared: str
) -> None:
    visits = application._Visits({"/": source}, {"/": target}, {"/": again}, 30.0)
    seen = application.compared("/", visits, 3.0, Redactor())
    assert difference in seen.difference and bool(difference) == bool(seen.difference)
    assert not_compared in seen.not_compared and bool(not_compared) == bool(seen.not_compared)


def test_pages_that_differ_are_requested_once_more_in_another_process(
    moving: Any, calls: Any
) -> None:
    spoil(moving, "UPDATE user_logs SET action = 'pull' WHERE action LIKE 'started%'")
    with pytest.raises(TuneError, match="/_admin/journal: line"):
        moving.cutover.compare_pages()
    assert calls.count((SOURCE, LOADED)) == 2 and calls.count((TARGET, LOADED)) == 1


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.once
@pytest.mark.parametrize("step", ["catching up", "comparing pages"])
def test_an_interruption_leaves_no_process_and_no_file(
    moved: None, large: Path, tmp_path: Path, step: str
) -> None:
    def files() -> set[str]:
        return {str(path) for path in large.parent.rglob("*")}

    before = files()
    words = [BIN / "gearbox", "db-migrate", "-c", large, "--to", f"sqlite:///{tmp_path}/moved.db"]
    process = subprocess.Popen(
        [*map(str, words), "--catch-up"], stderr=subprocess.PIPE, universal_newlines=True
    )
    assert process.stderr
    while step not in process.stderr.readline():
        pass
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130 and started
    process.stderr.close()
    # A grandchild that was killed is a zombie until init looks after it.
    until(lambda: not any(is_alive(process) for process in started))
    assert files() == before
