"""A value is read or converted where nothing of it is lost, and only then is that offered."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Iterator

import pytest
import sqlalchemy
from dirt import a_row, put, run_preflight
from kallithea_tables import Database

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.preflight import offers
from kallithea_tune.db_migrate.preflight.actions import CONVERT, READ
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.db_migrate.values import Value

SAME = "the same"
READINGS = [
    (Kind.moment, "2024-02-29T12:30:15", "2024-02-29 12:30:15.000000"),
    (Kind.moment, "2024-02-29 12:30", "2024-02-29 12:30:00.000000"),
    (Kind.moment, "2024-02-29T12:30:15.5", "2024-02-29 12:30:15.500000"),
    (Kind.moment, "2024-02-29 12:30:15,123456", "2024-02-29 12:30:15.123456"),
    (Kind.moment, "2024-02-29 12:30:15.123456000", "2024-02-29 12:30:15.123456"),
    (Kind.moment, "2024-02-29", "2024-02-29 00:00:00.000000"),
    (Kind.moment, "2024-02-29 12:30:15.1234567", SAME),
    (Kind.moment, "2024-02-29 12:30.5", SAME),
    (Kind.moment, "2024-02-30T12:30:15", SAME),
    (Kind.moment, "0000-01-01T00:00", SAME),
    (Kind.moment, "2024-02-29T12:30:15Z", SAME),
    (Kind.moment, "2024-02-29T12:30:15+01:00", SAME),
    (Kind.moment, "29.02.2024", SAME),
    (Kind.moment, "2024-02-29T24:00", SAME),
    (Kind.moment, "2024-02-29 12:30:15\n", SAME),
    (Kind.moment, "２024-02-29T12:30:15", SAME),
    (Kind.moment, 1709209815, SAME),
    (Kind.moment, 2460370.5, SAME),
    (Kind.moment, b"2024-02-29T12:30", SAME),
    (Kind.date, "2024-02-29T00:00:00.000", "2024-02-29"),
    (Kind.date, "2024-02-29 00:00:01", SAME),
    (Kind.time, "12:30", "12:30:00.000000"),
    (Kind.time, "12:30:15.5", "12:30:15.500000"),
    (Kind.time, "25:00", SAME),
    # Where a column has zones, a value needs one.
    (Kind.instant, "2024-02-29T12:30+02:00", "2024-02-29 10:30:00.000000+00:00"),
    (Kind.instant, "2024-02-29 12:30:15.5Z", "2024-02-29 12:30:15.500000+00:00"),
    (Kind.instant, "2024-02-29 12:30:15", SAME),
    (Kind.instant, "0001-01-01T00:00+02:00", SAME),
]
CONVERSIONS = [
    (Kind.integer, "12", 12),
    (Kind.integer, "-12.00", -12),
    (Kind.integer, 12.0, 12),
    (Kind.integer, "12.5", SAME),
    (Kind.integer, 1.5, SAME),
    (Kind.integer, 1e300, SAME),
    (Kind.integer, float("inf"), SAME),
    (Kind.integer, float("nan"), SAME),
    (Kind.integer, "", SAME),
    (Kind.integer, "1_000", SAME),
    (Kind.integer, "٣", SAME),
    (Kind.integer, "0x10", SAME),
    (Kind.integer, b"12", SAME),
    (Kind.boolean, "True", 1),
    (Kind.boolean, "f", 0),
    (Kind.boolean, "no", 0),
    (Kind.boolean, "1", 1),
    (Kind.boolean, "0.0", 0),
    (Kind.boolean, 1.0, 1),
    (Kind.boolean, "perhaps", SAME),
    (Kind.boolean, "", SAME),
    (Kind.number, "-1.5", -1.5),
    (Kind.number, "1e3", 1000.0),
    (Kind.number, "0.1", 0.1),
    (Kind.number, "0.1000000000000000055", SAME),
    (Kind.number, "9007199254740993", SAME),
    (Kind.number, "1e999", SAME),
    (Kind.number, "nan", SAME),
    (Kind.number, "never", SAME),
    (Kind.text, 12, "12"),
    (Kind.text, 1.5, "1.5"),
    (Kind.text, "é".encode(), "é"),
    (Kind.text, b"\xe9", SAME),
    (Kind.text, float("inf"), SAME),
    (Kind.binary, 12, b"12"),
    (Kind.binary, 1.5, b"1.5"),
]


@pytest.mark.parametrize("kind, value, expected", READINGS, ids=ascii)
def test_dates_are_read_where_only_one_is_possible(
    kind: Kind, value: Value, expected: object
) -> None:
    assert READ.fixed
    found = READ.fixed(value, Limits(kind))
    assert repr(found) == repr(value if expected is SAME else expected)


@pytest.mark.parametrize("kind, value, expected", CONVERSIONS, ids=ascii)
def test_values_are_converted_where_nothing_is_lost(
    kind: Kind, value: Value, expected: object
) -> None:
    assert CONVERT.fixed
    found = CONVERT.fixed(value, Limits(kind))
    assert repr(found) == repr(value if expected is SAME else expected)


@pytest.fixture
def source(spoilable: dict[str, Database]) -> Iterator[Database]:
    yield spoilable["sqlite"]
    for name, key in (
        ("changeset_comments", "comment_id"),
        ("user_to_perm", "user_to_perm_id"),
        ("user_logs", "user_log_id"),
        ("users", "user_id"),
        ("changeset_statuses", "changeset_status_id"),
    ):
        spoilable["sqlite"].run(f"DELETE FROM {name} WHERE {key} <> 1")


def found(result: PreflightResult) -> dict[tuple[str, str], Any]:
    return {(item.rule.name, item.columns[0]): item for item in result.violations}


@pytest.mark.parametrize("target", ["postgresql", "mysql"])
def test_the_next_action_applies_to_what_cannot_be_read(
    source: Database, spoilable: dict[str, Database], target: str
) -> None:
    for key, value in ((2, "2024-02-29T12:30"), (3, "yesterday"), (4, "2024-02-29T12:30Z")):
        put(
            source, "users", a_row("users", key, last_login=value, active=[0, "yes", "no"][key - 2])
        )
    result = run_preflight(source, spoilable[target])
    dates = found(result)["dates", "last_login"]
    assert [action.name for action in dates.actions] == ["read", "null", "epoch", "delete"]
    assert "dates=read (for 1 of them) or dates=null" in dates.remedy
    assert "wrong-type=convert or" in found(result)["wrong-type", "active"].remedy
    result = run_preflight(source, spoilable[target], "dates=read", "wrong-type=convert")
    dates = found(result)["dates", "last_login"]
    assert dates.left == 2 and found(result)["wrong-type", "active"].left == 0
    assert dates.remedy.startswith(
        "dates=read does not fix 2 of them; fix those in the source, or add --fix dates=null or"
    )
    result = run_preflight(
        source, spoilable[target], "dates=read", "dates=null", "wrong-type=convert"
    )
    assert result.blocking == []
    fixes, (place, other) = result.fixes.tables["users"], (0, 0)
    place, other = fixes.columns.index("last_login"), fixes.columns.index("active")
    rows = [row for batch in source.engine.reader.rows(source.table("users")) for row in batch]
    fixed = [fixes.apply(row).row for row in rows]
    assert [(row[place], row[other]) for row in fixed if row][1:] == [
        ("2024-02-29 12:30:00.000000", 0),
        (None, 1),
        (None, 0),
    ]


def test_what_reads_nothing_is_not_offered(
    source: Database, spoilable: dict[str, Database]
) -> None:
    put(source, "users", a_row("users", 2, last_login="\udce9", admin="perhaps"))
    put(source, "changeset_comments", a_row("changeset_comments", 2, user_id=None))
    result = found(run_preflight(source, spoilable["postgresql"]))
    names = {rule: [action.name for action in item.actions] for rule, item in result.items()}
    assert names["dates", "last_login"] == ["null", "epoch", "delete"]
    assert names["wrong-type", "admin"] == ["delete"]
    # There is no row with the key 0.
    assert names["nulls", "user_id"] == ["delete"]


def test_a_value_may_need_the_fix_of_another_rule_after_it_was_converted(
    source: Database, spoilable: dict[str, Database]
) -> None:
    put(source, "changeset_statuses", a_row("changeset_statuses", 2, version="9" * 12))
    put(source, "user_logs", a_row("user_logs", 2, action=b"a\0b"))
    gentle = "wrong-type=convert"
    # SQLite itself has made an integer of the digits.
    result = run_preflight(source, spoilable["postgresql"], gentle)
    (nul,) = [item for item in result.blocking if item.rule.name == "nul"]
    assert nul.what == "violated after another fix" and "nul=strip or nul=delete" in nul.remedy
    result = run_preflight(
        source, spoilable["postgresql"], gentle, "nul=strip", "out-of-range=delete"
    )
    assert result.blocking == []


def test_an_offer_says_which_rows_would_go_with_it(
    source: Database, spoilable: dict[str, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source, "users", a_row("users", 2, admin="perhaps"))
    for key in (2, 3):
        put(source, "changeset_comments", a_row("changeset_comments", key, user_id=2))
        put(source, "user_logs", a_row("user_logs", key, user_id=2))
    put(source, "user_to_perm", a_row("user_to_perm", 2, user_id=2))
    put(source, "changeset_statuses", a_row("changeset_statuses", 2, user_id=2))
    (violation,) = run_preflight(source, spoilable["postgresql"]).violations
    assert violation.remedy == (
        "fix it in the source, or use --fix wrong-type=delete (2 rows of"
        " changeset_comments, 1 of changeset_statuses, 1 of user_to_perm would go with it; 2 rows"
        " of user_logs would refer to nothing)"
    )
    monkeypatch.setattr(offers, "MOST_ROWS", 2)
    (violation,) = run_preflight(source, spoilable["postgresql"]).violations
    (offer,) = violation.offers.values()
    assert offer.at_least and sum(offer.elsewhere.values()) == 2
    assert "(at least 2 rows of" in violation.remedy or "(at least 1 row of" in violation.remedy
    monkeypatch.setattr(offers, "SECONDS", -1)
    (violation,) = run_preflight(source, spoilable["postgresql"]).violations
    (offer,) = violation.offers.values()
    assert offer.at_least and not offer.elsewhere
    assert violation.remedy.endswith("delete (the rows that refer to them were not counted)")


@pytest.mark.once
def test_what_is_read_and_converted_arrives_and_verifies(
    instance: Path, target: str, migrate: Any
) -> None:
    gentle = ["--fix", "dates=read", "--fix", "wrong-type=convert"]
    with contextlib.closing(sqlite3.connect(str(instance.parent / "kallithea.db"))) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        for key, moment in ((5, "2024-02-29T12:30"), (6, "2024-02-29T12:30:15.5")):
            database.execute(
                "UPDATE user_logs SET action_date = ? WHERE user_log_id = ?", [moment, key]
            )
        database.execute("UPDATE user_logs SET action = CAST('é' AS BLOB) WHERE user_log_id = 7")
        database.execute("UPDATE users SET active = 'yes', admin = 'f' WHERE user_id = 5")
        database.commit()
        done = migrate(instance, target, *gentle)
        assert done.returncode == 0, done.stdout + done.stderr
        database.execute("UPDATE user_logs SET action_date = '2024-03-01' WHERE user_log_id = 8")
        database.commit()
        for option in ("--catch-up", "--verify"):
            done = migrate(instance, target, *gentle, option)
            assert done.returncode == 0, done.stdout + done.stderr
    engine = sqlalchemy.create_engine(target)
    found = [
        tuple(map(str, row))
        for query in (
            "SELECT action_date FROM user_logs WHERE user_log_id IN (5, 6, 8) ORDER BY 1",
            "SELECT action FROM user_logs WHERE user_log_id = 7",
            "SELECT active, admin FROM users WHERE user_id = 5",
        )
        for row in engine.execute(query)
    ]
    engine.dispose()
    assert [" ".join(row)[:22].replace("True", "1").replace("False", "0") for row in found] == [
        *found_dates(target),
        "é" if not target.startswith("sqlite") else str("é".encode()),
        "1 0",
    ]


def found_dates(target: str) -> list[str]:
    whole = ".00" if target.startswith("sqlite") else ""
    return [f"2024-02-29 12:30:00{whole}", "2024-02-29 12:30:15.50", f"2024-03-01 00:00:00{whole}"]
