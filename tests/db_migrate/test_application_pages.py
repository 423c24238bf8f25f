from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, switch
from kallithea_tune.db_migrate.verify import application
from kallithea_tune.errors import TuneError

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
    seen = application.first_difference(before, other, after)
    assert seen == (
        found and (found[0], application.shortened(found[1]), application.shortened(found[2]))
    )


def test_secrets_of_pages_are_not_shown() -> None:
    shown = '<a href="/rss?api_key=***">'
    assert application.first_difference("x", shown.replace("***", "abcdefgh"), "x") == (
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


def spoil(migration: Any, statement: str) -> None:
    with sqlite3.connect(migration.target.endpoint.connection.engine.url.database) as connection:
        connection.execute(statement)
    connection.close()


def test_pages_are_the_same_on_both_sides(moving: Any) -> None:
    pages = moving.cutover.compare_pages().pages
    assert {page.path for page in pages} >= set(application.PAGES) and len(pages) == len(
        application.PAGES
    ) + 2
    assert all(page.statuses == (200, 200) and not page.difference for page in pages)


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
def visits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The names of the sides that were visited, one for each start of the application."""
    seen: list[str] = []
    visit = application._visit

    def noted(instance: Any, name: str, *args: Any) -> Any:
        seen.append(name)
        return visit(instance, name, *args)

    monkeypatch.setattr(application, "_visit", noted)
    return seen


def test_the_source_is_visited_early_unless_it_was_written_to_since(
    instance: Path, tmp_path: Path, visits: list[str]
) -> None:
    def again() -> Any:
        return Migration(instances.load(str(instance)), f"sqlite:///{tmp_path / 'moved.db'}")

    with again() as migration:
        migration.run()
    for starts in (3, 7):
        with again() as migration:
            migration.cutover.visit_source_early()
            if starts > 3:
                with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
                    connection.execute(
                        "UPDATE user_logs SET action = 'pull' WHERE action LIKE 'push%'"
                    )
                connection.close()
            migration.catch_up()
            assert not any(page.difference for page in migration.cutover.compare_pages().pages)
        assert len(visits) == starts and visits.count("target") == starts // 3, visits


def test_pages_that_differ_are_requested_once_more(moving: Any, visits: list[str]) -> None:
    spoil(moving, "UPDATE user_logs SET action = 'pull' WHERE action LIKE 'started%'")
    with pytest.raises(TuneError, match="/_admin/journal: line"):
        moving.cutover.compare_pages()
    assert visits.count("source") == 3 and visits.count("target") == 1
