"""What the ini file says about loggers, compared with what Python and gearbox do with it."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.logging.loggers import Loggers, loggers_of
from kallithea_tune.perf_check.logging.loggers_checks import gearbox_logger, levels
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.remedy import Remedy

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
Edit = Callable[[Path, str, str], None]
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


def read(path: Path) -> Loggers:
    parser = configparser.RawConfigParser()
    parser.read(str(path))
    return loggers_of({name: dict(parser[name]) for name in parser.sections()}, {})


def judged(check: Check, found: Loggers) -> Finding:
    (finding,) = check.judge(found)
    return finding


def without_gearbox(instance: Path, edit: Edit) -> None:
    from sick_instance import spoil_ini

    spoil_ini(instance)
    edit(instance, "debug = true", "debug = false")


def toy(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "toy_command.py").write_text(FAILING_COMMAND)
    info = tmp_path / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gearbox.commands]\nfail = toy_command:Fail\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return dict(os.environ, PYTHONPATH=path)


def test_plain_fileconfig_mutes_gearbox_only_without_its_logger(
    gearbox: Gearbox, instance: Path, edit: Edit, tmp_path: Path
) -> None:
    environment = toy(tmp_path)
    loud = gearbox("fail", instance, env=environment, cwd=str(tmp_path))
    assert "it fails" in loud.stderr and loud.returncode
    assert judged(gearbox_logger, read(instance)).severity is Severity.ok
    without_gearbox(instance, edit)
    silent = gearbox("fail", instance, env=environment, cwd=str(tmp_path))
    assert "it fails" not in silent.stderr + silent.stdout and silent.returncode
    assert judged(gearbox_logger, read(instance)).severity is Severity.advice


def test_gearbox_serve_reports_errors_without_its_logger_too(
    gearbox: Gearbox, instance: Path, edit: Edit, tmp_path: Path
) -> None:
    without_gearbox(instance, edit)
    edit(instance, "use = egg:kallithea", "use = egg:no-such-egg")
    served = gearbox("serve", "-c", instance, cwd=str(tmp_path))
    assert "no-such-egg" in served.stderr and served.returncode


@pytest.mark.parametrize(
    "sections, severity",
    [
        ({}, Severity.ok),
        ({"loggers": {"keys": "root"}}, Severity.advice),
        ({"loggers": {"keys": "root, gearbox"}}, Severity.advice),
        (
            {"loggers": {"keys": "root, g"}, "logger_g": {"qualname": "gearbox"}},
            Severity.ok,
        ),
    ],
)
def test_the_logger_of_gearbox_is_the_one_with_its_qualname(
    sections: Mapping[str, Mapping[str, str]], severity: Severity
) -> None:
    assert judged(gearbox_logger, loggers_of(sections, {})).severity is severity


@pytest.mark.parametrize(
    "by_logger, severity",
    [
        ({"": "NOTSET", "kallithea": "INFO"}, Severity.ok),
        ({"": "DEBUG"}, Severity.ok),
        ({"kallithea": "DEBUG"}, Severity.warning),
        ({"sqlalchemy.engine": "INFO"}, Severity.warning),
        ({"sqlalchemy.engine": "WARN"}, Severity.ok),
    ],
)
def test_levels_are_judged(by_logger: Mapping[str, str], severity: Severity) -> None:
    assert judged(levels, Loggers(by_logger)).severity is severity


def test_an_engine_that_echoes_is_made_quiet_by_its_own_option(
    gearbox: Gearbox, instance: Path, edit: Edit
) -> None:
    def remedy() -> Any:
        done = gearbox(
            "perf-check", "-c", instance, "--only", "CFG002", "-f", "json", cwd=str(instance.parent)
        )
        (found,) = json.loads(done.stdout)
        return found["remedy"]

    assert remedy() == ""
    edit(instance, "\nsqlalchemy.url", "\nsqlalchemy.echo = true\nsqlalchemy.url")
    assert remedy() == "set sqlalchemy.echo = false in [app:main]"
    edit(instance, "[logger_kallithea]\nlevel = WARN", "[logger_kallithea]\nlevel = DEBUG")
    found = "set level = WARN in [logger_kallithea]; set sqlalchemy.echo = false in [app:main]"
    assert remedy() == found


@pytest.mark.parametrize(
    "check, old, new",
    [
        (levels, "\nsqlalchemy.url", "\nsqlalchemy.echo = true\nsqlalchemy.url"),
        (levels, "[DEFAULT]\n", "[DEFAULT]\nsqlalchemy.echo = debug\n"),
        (levels, "[logger_sqlalchemy]\nlevel = WARN", "[logger_sqlalchemy]\nlevel = DEBUG"),
        (gearbox_logger, ", tg, gearbox, beaker", ", tg, beaker"),
    ],
)
def test_the_remedies_of_loggers(
    instance: Path, edit: Edit, check: Check, old: str, new: str
) -> None:
    def severity() -> Severity:
        (found,) = check.findings(Context(load(str(instance)), Deadline(60)))
        remedies.append(found.remedy)
        return found.severity

    remedies: "list[Remedy]" = []
    edit(instance, old, new)
    assert severity() > Severity.ok
    carry_out(remedies[0], instance)
    assert severity() is Severity.ok
    # The file is still one that Python accepts.
    loader = f"import logging.config; logging.config.fileConfig({str(instance)!r})"
    subprocess.run([sys.executable, "-c", f"import kallithea; {loader}"], check=True)


def test_setup_logging_of_this_gearbox_keeps_existing_loggers() -> None:
    source = subprocess.run(
        [
            sys.executable,
            "-c",
            "import inspect, gearbox.utils.log as l; print(inspect.getsource(l.setup_logging))",
        ],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout
    assert "disable_existing_loggers=False" in source
