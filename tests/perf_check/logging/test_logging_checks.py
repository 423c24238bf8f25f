"""What the ini file says about logging, against what Python, gearbox and Kallithea do with it."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys

import pytest

from kallithea_tune.perf_check.logging import logging_checks as checks
from kallithea_tune.perf_check.model import Severity

FAILING_COMMAND = """
import logging.config, sys
from gearbox.command import Command

class Fail(Command):
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument("ini")
        return parser

    def take_action(self, args):
        logging.config.fileConfig(args.ini)
        raise RuntimeError("it fails")
"""


def sections(path):
    parser = configparser.RawConfigParser()
    parser.read(str(path))
    return {name: dict(parser[name]) for name in parser.sections()}


def without_gearbox(instance, edit):
    from sick_instance import spoil_ini

    spoil_ini(instance)
    edit(instance, "debug = true", "debug = false")


def toy(tmp_path):
    (tmp_path / "toy_command.py").write_text(FAILING_COMMAND)
    info = tmp_path / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gearbox.commands]\nfail = toy_command:Fail\n")
    return dict(
        os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    )


def test_plain_fileconfig_mutes_gearbox_only_without_its_logger(gearbox, instance, edit, tmp_path):
    environment = toy(tmp_path)
    loud = gearbox("fail", instance, env=environment, cwd=str(tmp_path))
    assert "it fails" in loud.stderr and loud.returncode
    assert checks.judge_gearbox_logger(sections(instance)).severity is Severity.ok
    without_gearbox(instance, edit)
    silent = gearbox("fail", instance, env=environment, cwd=str(tmp_path))
    assert "it fails" not in silent.stderr + silent.stdout and silent.returncode
    assert checks.judge_gearbox_logger(sections(instance)).severity is Severity.advice


def test_gearbox_serve_speaks_without_its_logger_too(gearbox, instance, edit, tmp_path):
    without_gearbox(instance, edit)
    edit(instance, "use = egg:kallithea", "use = egg:no-such-egg")
    said = gearbox("serve", "-c", instance, cwd=str(tmp_path))
    assert "no-such-egg" in said.stderr and said.returncode


@pytest.mark.parametrize(
    "levels, severity",
    [
        ({"": "NOTSET", "kallithea": "INFO"}, Severity.ok),
        ({"": "DEBUG"}, Severity.ok),
        ({"kallithea": "DEBUG"}, Severity.warning),
        ({"sqlalchemy.engine": "INFO"}, Severity.warning),
        ({"sqlalchemy.engine": "WARN"}, Severity.ok),
    ],
)
def test_levels_are_judged(levels, severity):
    assert checks.judge_levels(levels).severity is severity


def test_an_engine_that_echoes_is_made_quiet_by_its_own_option(gearbox, instance, edit):
    def remedy():
        said = gearbox(
            "perf-check", "-c", instance, "--only", "CFG002", "-f", "json", cwd=str(instance.parent)
        )
        (found,) = json.loads(said.stdout)
        return found["remedy"]

    assert remedy() == ""
    edit(instance, "\nsqlalchemy.url", "\nsqlalchemy.echo = true\nsqlalchemy.url")
    assert remedy() == "set sqlalchemy.echo = false"
    edit(instance, "[logger_kallithea]\nlevel = WARN", "[logger_kallithea]\nlevel = DEBUG")
    assert (
        remedy() == "set sqlalchemy.echo = false, and level = WARN in the sections of these loggers"
    )


def test_lines_are_judged_at_a_screen():
    assert checks.judge_lines(25, [], "").severity is Severity.ok
    assert checks.judge_lines(26, ["a 26"], "").severity is Severity.warning


def test_log_files_are_found_in_handlers():
    found = checks.log_files(
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


def run(gearbox, instance, *only):
    words = [word for name in only for word in ("--only", name)]
    said = gearbox("perf-check", "-c", instance, "-f", "json", *words, cwd=str(instance.parent))
    return json.loads(said.stdout)


def test_lines_per_request_are_counted_in_the_real_application(gearbox, instance, edit):
    assert run(gearbox, instance, "CFG007") == []
    edit(instance, "[logger_sqlalchemy]\nlevel = WARN", "[logger_sqlalchemy]\nlevel = DEBUG")
    found = run(gearbox, instance, "CFG007", "CFG002")
    assert [item["severity"] for item in found] == ["warning", "warning"]
    counted = next(item for item in found if item["check"] == "CFG007")["evidence"]
    assert counted["lines_per_request"] > 25 and any(
        "sqlalchemy" in name for name in counted["most"]
    )
    edit(instance, "[logger_sqlalchemy]\nlevel = DEBUG", "[logger_sqlalchemy]\nlevel = WARN")
    edit(instance, "\nsqlalchemy.url", "\nsqlalchemy.echo = true\nsqlalchemy.url")
    (echoed,) = run(gearbox, instance, "CFG007")
    assert (
        echoed["evidence"]["lines_per_request"] > 25
        and echoed["remedy"] == "set sqlalchemy.echo = false"
    )


def test_the_disk_of_a_log_file_is_measured_and_left_clean(gearbox, instance, edit, tmp_path):
    logs = tmp_path / "logs"
    edit(
        instance,
        "[handler_console]\n",
        "[handler_console]\nclass = FileHandler\nargs = ('{}',)\n".format(logs / "k.log"),
    )
    text = instance.read_text().replace("class = StreamHandler\nargs = (sys.stderr,)\n", "", 1)
    instance.write_text(text)
    (missing,) = run(gearbox, instance, "CFG006")
    assert missing["severity"] == "error" and "mkdir -p" in missing["remedy"]
    logs.mkdir()
    (measured,) = run(gearbox, instance, "CFG006")
    assert measured["evidence"]["p99_ms"] > 0 and measured["subject"] == str(logs / "k.log")
    assert list(logs.iterdir()) == []
    assert checks.judge_log_disk("x", {"p99_ms": 10.1}).severity is Severity.warning


def test_setup_logging_of_this_gearbox_keeps_existing_loggers():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import inspect, gearbox.utils.log as l; print(inspect.getsource(l.setup_logging))",
        ],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout
    assert "disable_existing_loggers=False" in said
