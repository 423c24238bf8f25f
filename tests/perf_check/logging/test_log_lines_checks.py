"""Lines per request, judged, and counted in the real application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

from kallithea_tune.perf_check.logging.log_lines import (
    Lines,
    LinesPerRequest,
    lowest_level,
)
from kallithea_tune.perf_check.logging.log_lines_checks import judge_lines, lines
from kallithea_tune.perf_check.logging.loggers import Loggers
from kallithea_tune.perf_check.model import Severity


def test_lines_are_judged_at_a_screen() -> None:
    assert judge_lines(Lines(25, ()), "").severity is Severity.ok
    assert judge_lines(Lines(26, ("a 26",)), "").severity is Severity.warning


def test_the_lowest_level_is_that_of_the_most_verbose_handler() -> None:
    handlers = {"handler_a": {"level": "warning"}, "handler_b": {"level": "INFO"}}
    assert lowest_level({**handlers, "logger_c": {"level": "DEBUG"}}) == "INFO"
    assert lowest_level({}) == "NOTSET"


def test_what_was_not_counted_is_not_judged() -> None:
    assert list(lines.judge(Loggers({"kallithea": "WARN"}), LinesPerRequest())) == []


def test_lines_per_request_are_counted_in_the_real_application(
    gearbox: Callable[..., Any], instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    def run(*ids: str) -> Any:
        only = [argument for id in ids for argument in ("--only", id)]
        done = gearbox("perf-check", "-c", instance, "-f", "json", *only, cwd=str(instance.parent))
        return json.loads(done.stdout)

    assert run("CFG007") == []
    edit(instance, "[logger_sqlalchemy]\nlevel = WARN", "[logger_sqlalchemy]\nlevel = DEBUG")
    found = run("CFG007", "CFG002")
    assert [item["severity"] for item in found] == ["warning", "warning"]
    counted = next(item for item in found if item["check"] == "CFG007")["evidence"]
    assert counted["lines_per_request"] > 25
    assert any("sqlalchemy" in name for name in counted["most"])
    edit(instance, "[logger_sqlalchemy]\nlevel = DEBUG", "[logger_sqlalchemy]\nlevel = WARN")
    edit(instance, "\nsqlalchemy.url", "\nsqlalchemy.echo = true\nsqlalchemy.url")
    (echoed,) = run("CFG007")
    assert echoed["evidence"]["lines_per_request"] > 25
    assert echoed["remedy"] == "set sqlalchemy.echo = false in [app:main]"
