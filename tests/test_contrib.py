"""systemd accepts the units in contrib/systemd, and the commands accept their options."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from environment import BIN

from kallithea_tune.cli.perf_check import PerfCheckCommand
from kallithea_tune.cli.static_export import StaticExportCommand

ROOT = Path(__file__).resolve().parents[1]
UNITS = sorted((ROOT / "contrib" / "systemd").iterdir())
COMMANDS = {"perf-check": PerfCheckCommand, "static-export": StaticExportCommand}


@pytest.mark.once
def test_systemd_has_nothing_to_say_of_the_units(tmp_path: Path) -> None:
    pages = tmp_path / "man" / "man1"
    shutil.copytree(str(ROOT / "docs" / "man"), str(pages))
    for unit in UNITS:
        text = unit.read_text().replace("/srv/kallithea/venv/bin", str(BIN))
        (tmp_path / unit.name).write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)],
        env={**os.environ, "MANPATH": str(pages.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_each_timer_has_its_service_whose_command_has_these_options() -> None:
    services = [unit for unit in UNITS if unit.suffix == ".service"]
    assert {unit.stem for unit in UNITS if unit.suffix == ".timer"} == {
        unit.stem for unit in services
    }
    for unit in services:
        (line,) = re.findall(r"(?m)^ExecStart=(.*)$", unit.read_text())
        program, quiet, name, *words = line.split()
        assert (program, quiet) == ("/srv/kallithea/venv/bin/gearbox", "-q")
        COMMANDS[name](None, None, name).get_parser(name).parse_args(words)
