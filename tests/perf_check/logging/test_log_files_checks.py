"""Log files found in the ini file, and the time of a line where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from carry_out import carry_out

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.logging.log_files import LineTimes, LogFile, LogFiles, configured
from kallithea_tune.perf_check.logging.log_files_checks import judge_times, log_disk
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.remedy import Command


def test_log_files_are_found_in_handlers() -> None:
    found = configured(
        {
            "handler_a": {
                "class": "logging.handlers.RotatingFileHandler",
                "args": "('%(here)s/log/a.log', 'a', 1000)",
            },
            "handler_b": {"class": "FileHandler", "args": '("b.log",)'},
            "handler_c": {"class": "StreamHandler", "args": "(sys.stderr,)"},
        },
        "/srv",
    )
    assert found == ["/srv/log/a.log", "/srv/b.log"]


def test_the_disk_of_a_log_file_is_measured_and_left_clean(
    gearbox: Callable[..., Any],
    instance: Path,
    edit: Callable[[Path, str, str], None],
    tmp_path: Path,
) -> None:
    def run() -> Any:
        done = gearbox(
            "perf-check", "-c", instance, "-f", "json", "--only", "CFG006", cwd=str(instance.parent)
        )
        return json.loads(done.stdout)

    logs = tmp_path / "logs"
    handler = f"class = FileHandler\nargs = ('{logs / 'k.log'}',)\n"
    edit(instance, "[handler_console]\n", f"[handler_console]\n{handler}")
    text = instance.read_text().replace("class = StreamHandler\nargs = (sys.stderr,)\n", "", 1)
    instance.write_text(text)
    (missing,) = run()
    assert missing["severity"] == "error" and "mkdir -p" in missing["remedy"]
    carry_out(Command(tuple(missing["actions"][0]["words"])), instance)
    (measured,) = run()
    assert measured["evidence"]["p99_ms"] > 0 and measured["subject"] == str(logs / "k.log")
    assert list(logs.iterdir()) == []


def test_a_line_is_slow_above_10_ms() -> None:
    assert judge_times("x", LineTimes(0.1, 10.1, 20.0)).severity is Severity.warning
    assert judge_times("x", LineTimes(0.1, 10.0, 20.0)).severity is Severity.ok


def test_files_before_one_that_hangs_are_judged() -> None:
    fast = LogFile("/var/log/a.log", LineTimes(0.1, 0.2, 0.3))
    hung = LogFile("/mnt/b.log", reason="it did not answer within 2 s")
    found = LogFiles((fast, hung), total=3)
    assert (found.examined.count, found.examined.total) == (1, 3)
    findings = iter(log_disk.judge(found))
    assert next(findings).subject == "/var/log/a.log"
    with pytest.raises(NotMeasured, match="did not answer"):
        next(findings)
