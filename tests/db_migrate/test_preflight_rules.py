"""Each rule finds exactly the rows that the real target refuses or changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from dirt import Dirt, a_row, does, put, remove, run_preflight, summary
from kallithea_tables import Database

from kallithea_tune.db_migrate.preflight.rules import RULES

LONG = "é" * 255
CASES = [
    Dirt("nulls", "users", "firstname", None),
    Dirt("wrong-type", "changeset_statuses", "version", "many"),
    Dirt("wrong-type", "changeset_statuses", "version", 1.5),
    Dirt("wrong-type", "users", "admin", "yes"),
    Dirt("wrong-type", "gists", "gist_expires", "never"),
    Dirt("wrong-type", "user_logs", "action", b"blob"),
    Dirt("booleans", "users", "admin", 7),
    Dirt("out-of-range", "changeset_statuses", "version", 2**31),
    Dirt("out-of-range", "changeset_statuses", "version", 2**31 - 1),
    Dirt("out-of-range", "changeset_statuses", "version", -(2**31) - 1),
    Dirt("not-finite", "gists", "gist_expires", float("inf")),
    Dirt("not-finite", "gists", "gist_expires", float("-inf")),
    Dirt("not-finite", "gists", "gist_expires", 1.7976931348623157e308),
    Dirt("dates", "user_logs", "action_date", "2024-02-30 12:00:00.000000"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29 12:00:00.000001"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29 23:59:59"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29 24:00:00.000000"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29T12:00:00.000000"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29 12:00:00+02:00"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29 12:00:00.5"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29 12:00:00.123456789"),
    Dirt("dates", "user_logs", "action_date", "2024-02-29"),
    Dirt("dates", "user_logs", "action_date", "0000-00-00 00:00:00"),
    Dirt("dates", "user_logs", "action_date", "0001-01-01 00:00:00.000000"),
    Dirt("dates", "user_logs", "action_date", "9999-12-31 23:59:59.999999"),
    Dirt("dates", "user_logs", "action_date", "10000-01-01 00:00:00.000000"),
    Dirt("dates", "user_logs", "action_date", "yesterday"),
    Dirt("dates", "user_logs", "action_date", 1709251199),
    Dirt("utf8", "user_logs", "action", "caf\udce9"),
    Dirt("utf8", "user_logs", "action", "café 見積 😀"),
    Dirt("nul", "user_logs", "action", "a\0b"),
    Dirt("too-long", "user_logs", "username", LONG),
    Dirt("too-long", "user_logs", "username", LONG + "x"),
    Dirt("too-long", "user_logs", "username", "😀" * 256),
    Dirt("orphans", "user_logs", "user_id", 99),
    Dirt("orphans", "user_logs", "user_id", 1),
    Dirt("orphans", "changeset_statuses", "changeset_comment_id", 99),
]


@pytest.mark.parametrize("target", ["postgresql", "mysql"])
@pytest.mark.parametrize("dirt", CASES, ids=lambda dirt: f"{dirt.rule}-{ascii(dirt.value)[:30]}")
def test_what_the_target_does_not_accept_is_found(
    spoilable: dict[str, Database], dirt: Dirt, target: str
) -> None:
    source = spoilable["sqlite"]
    put(source, dirt.table, a_row(dirt.table, 2, **{dirt.column: dirt.value}))
    try:
        found = summary(run_preflight(source, spoilable[target]))
    finally:
        remove(source, dirt)
    taken = does(spoilable[target], dirt) == "takes"
    assert found == ([] if taken else [(dirt.rule, dirt.table, (dirt.column,), 1, [2])])


@pytest.mark.parametrize("target", ["postgresql", "mysql"])
def test_nothing_is_found_where_nothing_is_wrong(
    spoilable: dict[str, Database], target: str
) -> None:
    assert summary(run_preflight(spoilable["sqlite"], spoilable[target])) == []


def engine_of(statement: str) -> str:
    """Which engine a statement of the documentation is written for."""
    if any(word in statement for word in ("::text", "isfinite", " ~ ")):
        return "postgresql"
    return (
        "mysql"
        if any(word in statement for word in ("MONTH(", "LOCATE(", "GLOBAL", "DATABASE"))
        else "sqlite"
    )


def test_the_sql_of_the_documentation_runs(spoilable: dict[str, Database]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "db-migrate-preflight.rst").read_text()
    blocks = [block for block in text.split("The rules\n===")[1].split("::\n\n")[1:]]
    blocks = [block.split("\n\n")[0] for block in blocks]
    statements = [item.strip() for block in blocks for item in block.split(";") if item.strip()]
    assert len(statements) > 30
    for statement in statements:
        raw = spoilable[engine_of(statement)].connection.connection
        if "GLOBAL" not in statement and "DATABASE" not in statement:
            raw.cursor().execute(statement)
            raw.rollback()


def test_every_rule_has_a_section_that_names_its_fixes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "db-migrate-preflight.rst").read_text()
    for rule in RULES.values():
        heading = "\n{}\n{}\n".format(rule.name, "-" * len(rule.name))
        section = text.split(heading)[1].split("\n---")[0]
        actions = [action.name for action in rule.actions]
        assert f"``{rule.name}={actions[0]}``" in section or f"``{rule.name}=" in section
        # The table has what the registry has.
        assert f"{rule.name:<14} {rule.summary:<42} {', '.join(actions)}" in text.splitlines()
