"""Carries out a remedy exactly as it is printed, so that a test can see whether it helps."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Mapping, Optional, Union

from kallithea_tune.config import inifile
from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check.remedy import Command, IniEdit, Remedy, Statements, steps_of

SECONDS = 120


def carry_out(
    remedy: Remedy,
    instance: Union[Instance, Path, str],
    environment: Optional[Mapping[str, str]] = None,
) -> None:
    """Carry out every step of `remedy` on the instance, or the one of an ini file, in order.

    Programs get further variables, as the password of a database in PGPASSWORD. A sentence has no
    step, and is a failure: nobody can carry it out but a human.
    """
    steps = steps_of(remedy)
    assert steps, f"only a human can carry out: {remedy}"
    path = instance.path if isinstance(instance, Instance) else str(instance)
    for step in steps:
        if isinstance(step, IniEdit):
            edit_ini(step, path)
        else:
            run(step, dict(environment or {}))


def edit_ini(step: IniEdit, path: str) -> None:
    """Set and remove the options in the file, which must change by it."""
    edit = inifile.unchanged(path)
    for option in step.options:
        edit = inifile.also(edit, option.section, {option.name: option.value})
    assert not edit.is_empty, f"nothing would change: {step}"
    inifile.write(edit)


def run(step: Union[Command, Statements], environment: Mapping[str, str]) -> None:
    """Run the program in its directory, as its user; it must succeed."""
    if isinstance(step, Statements):
        words, directory, user = (*step.client, step.sql), "", ""
    else:
        words, directory, user = step.words, step.directory, step.user
    if user:
        words = ("runuser", "-u", user, "--", *words)
    ended = subprocess.run(
        words,
        cwd=directory or "/",
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, f"{words} ended with {ended.returncode}: {ended.stdout}"
