"""Keys that appear twice, or only look so to the target: compared with what it really refuses."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import pytest
from dirt import a_row, put, run_preflight, summary
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kallithea_tables import Database, models

COLLATIONS = [
    "utf8mb4_general_ci",
    "utf8mb4_unicode_ci",
    "utf8mb4_bin",
    "utf8mb4_nopad_bin",
    "utf8mb4_uca1400_ai_ci",
]
PAIRS = [
    ("foo", "foo"),
    ("foo", "Foo"),
    ("foo", "foo "),
    ("foo", " foo"),
    ("resume", "résumé"),
    ("strasse", "straße"),
    ("😀", "😁"),
    ("", " "),
    ("a", "b"),
    ("co-op", "coop"),
    ("VIII", "Ⅷ"),
    ("ﬁ", "fi"),
    ("e\u0301", "é"),
    ("æ", "ae"),
    ("I", "ı"),
    ("x\t", "x"),
    ("0", "٠"),
    ("abc", "abC"),
    ("09af", "09af"),
    ("09af", "09ae"),
    ("ab\0c", "ab\0C"),
    ("ab", "ab\0"),
]


@pytest.fixture(scope="module", params=COLLATIONS)
def collating(mariadb: Any, request: Any) -> Iterator[Database]:
    """Kallithea's tables, empty, in a MariaDB database of some collation."""
    url = mariadb.url("collating")
    connection = mariadb.connect()
    connection.cursor().execute(f"ALTER DATABASE collating COLLATE {request.param}")
    connection.close()
    database = Database(url + "&local_infile=1")
    yield database
    database.close()


def users(*names: str) -> list[dict[str, Any]]:
    return [a_row("users", key, username=name) for key, name in enumerate(names, 1)]


def refused(target: Database, rows: Sequence[dict[str, Any]]) -> list[int]:
    """The keys of those rows that the target does not take besides the rows before them."""
    keys = []
    for row in rows:
        try:
            put(target, "users", row)
        except target.connection.dialect.dbapi.IntegrityError:
            target.connection.connection.rollback()
            keys.append(row["user_id"])
    target.run("DELETE FROM users")
    return keys


def found(source: Database, target: Database, rows: Sequence[dict[str, Any]], *fixes: str) -> Any:
    source.run("DELETE FROM users")
    for row in rows:
        put(source, "users", row)
    try:
        return run_preflight(source, target, *fixes, tables=[models().tables["users"]])
    finally:
        source.run("DELETE FROM users")
        put(source, "users", a_row("users", 1))


@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_keys_that_the_target_holds_for_equal_are_found(
    spoilable: dict[str, Database], collating: Database, pair: Sequence[str]
) -> None:
    rows = users(*pair)
    rule = "duplicates" if pair[0] == pair[1] else "collisions"
    wanted = [(rule, "users", ("username",), 1, [2])] if refused(collating, rows) else []
    assert summary(found(spoilable["sqlite"], collating, rows)) == wanted


names = st.text(st.sampled_from("aAäÄ sSßeE\u0301æ😀😁-"), max_size=3)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(names, min_size=2, max_size=12))
def test_any_keys_that_the_target_holds_for_equal_are_found(
    spoilable: dict[str, Database], collating: Database, names: list[str]
) -> None:
    rows = users(*names)
    keys = sorted(
        key for item in found(spoilable["sqlite"], collating, rows).violations for key in item.keys
    )
    assert keys == refused(collating, rows)


@pytest.mark.parametrize("target", ["postgresql", "mysql"])
def test_duplicates_are_found_and_the_first_is_kept(
    spoilable: dict[str, Database], target: str
) -> None:
    rows = [
        *users("foo", "bar", "foo", "foo", "baz"),
        a_row("users", 6, email=None),
        a_row("users", 7, email=None),
    ]
    seen = found(spoilable["sqlite"], spoilable[target], rows, "duplicates=keep-first")
    assert (
        summary(seen) == [("duplicates", "users", ("username",), 2, [3, 4])] and not seen.blocking
    )
    names = list(rows[0])
    kept = [row for row in rows if seen.fixes.expected("users", names, list(row.values()))]
    assert [row["user_id"] for row in kept] == [1, 2, 5, 6, 7]


def test_nothing_stays_in_the_target(spoilable: dict[str, Database], collating: Database) -> None:
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    before = collating.run(query).fetchall()
    found(spoilable["sqlite"], collating, users("foo", "Foo"))
    assert before == collating.run(query).fetchall()


def test_texts_that_a_fix_makes_equal_are_found(spoilable: dict[str, Database]) -> None:
    rows = users("x" * 255 + "a", "x" * 255 + "b", "y")
    for target in ("postgresql", "mysql"):
        seen = found(spoilable["sqlite"], spoilable[target], rows, "too-long=truncate")
        assert [(item.rule.name, item.count, item.left) for item in seen.violations] == [
            ("too-long", 2, 0),
            ({"postgresql": "duplicates", "mysql": "collisions"}[target], 1, 1),
        ]
        seen = found(spoilable["sqlite"], spoilable[target], rows)
        assert [item.rule.name for item in seen.violations] == ["too-long"]
        assert seen.unchecked == [
            "duplicates in username of users can only be found once too-long is fixed"
        ]
