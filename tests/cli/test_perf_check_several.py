"""``perf-check`` with several ini files, as an admin runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "an-0ther-s3cret"


def _copy(ini: Path, name: str, port: int, settings: "dict[str, str]") -> Path:
    """Copy an ini file, for a port of its own, and with other settings."""
    lines = [
        line
        for line in ini.read_text().splitlines(keepends=True)
        if line.split(" = ")[0] not in (*settings, "port")
    ]
    text = "".join(lines).replace("[server:main]\n", f"[server:main]\nport = {port}\n")
    given = "".join(f"{name} = {value}\n" for name, value in settings.items())
    copy = ini.with_name(name)
    copy.write_text(text.replace("[app:main]\n", "[app:main]\n" + given))
    return copy


@pytest.mark.once
def test_the_settings_of_the_one_that_differs_become_those_of_the_others(
    instance: Path, perf_check: Run
) -> None:
    differing = {
        "session.secret": SECRET,
        "session.key": "another",
        "cache_dir": "%(here)s/data/elsewhere",
        "cache.data_dir": "%(here)s/data/elsewhere-cache",
        "index_dir": "%(here)s/elsewhere",
        "app_instance_uuid": "another-uuid",
        "git_hook_interpreter": "/usr/bin/python3",
    }
    inis = [
        _copy(instance, f"web{number}.ini", 5000 + number, differing if number == 2 else {})
        for number in (1, 2, 3)
    ]
    configs = [word for ini in inis for word in ("-c", ini)]
    before = [ini.read_text() for ini in inis]
    checks = "SCA002,SCA003,SCA005,SCA006"

    shown = perf_check(*configs, "--fix", checks, "-n")
    assert shown.returncode == 0, shown.stderr
    assert [ini.read_text() for ini in inis] == before

    fixed = perf_check(*configs, "--fix", checks, "-y", "-f", "json")
    assert fixed.returncode == 0, fixed.stderr
    rows = json.loads(fixed.stdout)
    assert {row["instance"] for row in rows} == {"web2.ini"}
    assert {row["subject"] for row in rows} >= set(differing)
    assert {row["verdict"] for row in rows} == {"gone"}
    assert [ini.read_text() == text for ini, text in zip(inis, before)] == [True, False, True]
    assert len(list(instance.parent.glob("web2.ini.*"))) == 1

    again = perf_check(*configs, "--only", "scaling", "-f", "json")
    # None of them runs.
    left = {row["check"] for row in json.loads(again.stdout) if row["severity"] != "ok"}
    assert left == {"SCA012"}
    secrets = (SECRET, "another-uuid", "d8d639")
    for done in (shown, fixed, again):
        assert not any(secret in done.stdout + done.stderr for secret in secrets)
