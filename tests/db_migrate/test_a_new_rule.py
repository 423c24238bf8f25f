"""A rule is added in one place, and is found, reported, chosen and fixed like all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator

import pytest
from dirt import a_row, put, run_preflight
from kallithea_tables import Database, models

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.preflight.actions import DELETE, Action
from kallithea_tune.db_migrate.preflight.fix_options import parse_fixes
from kallithea_tune.db_migrate.preflight.report import as_json, lines
from kallithea_tune.db_migrate.preflight.rule import RULES, ValueRule, register
from kallithea_tune.db_migrate.quarantine import Quarantine
from kallithea_tune.errors import ConfigError


@pytest.fixture
def shouting() -> Iterator[ValueRule]:
    """A rule that everything has to be whispered."""
    rule = register(
        ValueRule(
            "shouting",
            "text that is too loud",
            (Action("whisper", lambda value, limits: str(value).rstrip("!")), DELETE),
            complaint=lambda limits: "too loud" if limits.kind is Kind.text else "",
            test=lambda value, limits: isinstance(value, str) and value.endswith("!"),
            sql=lambda sql, name, limits: f"{name} LIKE '%!'",
        )
    )
    yield rule
    del RULES[rule.name]


def test_a_rule_is_one_entry(
    spoilable: dict[str, Database], shouting: ValueRule, tmp_path: Path
) -> None:
    source, target = spoilable["sqlite"], spoilable["postgresql"]
    row = a_row("user_logs", 2, action="HELLO!")
    put(source, "user_logs", row)
    try:
        tables = [models().tables[name] for name in ("users", "repositories", "user_logs")]
        found = run_preflight(source, target, tables=tables)
        assert [(item.rule, item.keys) for item in found.blocking] == [(shouting, [2])]
        assert lines(found.violations, []) == [
            "Preflight: 1 problem, 1 to be fixed first",
            "  shouting      user_logs.action: too loud in 1 row (key 2)",
            "                fix it in the source, or use --fix shouting=whisper or",
            "                shouting=delete",
        ]
        assert as_json(found.violations)[0]["actions"] == ["whisper", "delete"]
        fixed = run_preflight(source, target, "shouting=whisper", tables=tables)
    finally:
        source.run("DELETE FROM user_logs WHERE user_log_id = 2")
    assert fixed.blocking == []
    assert "fixed while copying: shouting=whisper" in "\n".join(lines(fixed.violations, []))
    quarantine = Quarantine(str(tmp_path / "rows"))
    quarantine.prepare(False)
    amend = quarantine.amend(fixed.fixes, "user_logs")
    assert amend
    (amended,) = amend([tuple(row.values())])
    quarantine.close()
    assert dict(zip(row, amended)) == {**row, "action": "HELLO"}
    assert json.loads((tmp_path / "rows").read_text())["fixes"] == ["shouting=whisper"]


def test_its_fixes_are_among_the_choices(shouting: ValueRule) -> None:
    (action,) = parse_fixes(["shouting=whisper"])[shouting]
    assert action.name == "whisper"
    with pytest.raises(ConfigError, match=r"the fixes are nulls=empty.*shouting=whisper\|delete"):
        parse_fixes(["nosuch=null"])
    with pytest.raises(ConfigError, match="there is shouting=whisper or shouting=delete"):
        parse_fixes(["shouting=louder"])
