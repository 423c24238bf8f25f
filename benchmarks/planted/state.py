"""States of an instance that admins meet, planted into copies of one real instance."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from servers.application import QUIET
from waiting import until

BIN = Path(sys.executable).parent


@dataclass
class Planted:
    """A copy of the instance in `directory`, and what is stopped when the state is left."""

    directory: Path
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def ini(self) -> Path:
        """The ini file."""
        return self.directory / "my.ini"

    @property
    def repositories(self) -> Path:
        """The directory of the repositories."""
        return self.directory / "repos"

    def replace(self, *pairs: str) -> None:
        """Replace text in the ini file: old, new, old, new ... Each old one must be there."""
        text = self.ini.read_text()
        for old, new in zip(pairs[::2], pairs[1::2]):
            assert old in text, old
            text = text.replace(old, new, 1)
        self.ini.write_text(text)

    def add(self, section: str, *lines: str) -> None:
        """Add lines at the top of a section of the ini file."""
        self.replace(f"[{section}]\n", "\n".join([f"[{section}]", *lines, ""]))

    def use_gunicorn(self, *options: str) -> None:
        """Have gunicorn serve, with these lines and without the options of waitress."""
        head, _, rest = self.ini.read_text().partition("use = egg:waitress#main\n")
        _, _, rest = rest.partition("\n\n")
        lines = "\n".join(["use = egg:gunicorn#main", *options])
        self.ini.write_text(f"{head}{lines}\n\n{rest}")

    def sql(self, script: str) -> None:
        """Run SQL in the SQLite database."""
        with contextlib.closing(sqlite3.connect(str(self.directory / "kallithea.db"))) as database:
            database.executescript(script)
            database.commit()

    def run(self, *words: object, cwd: Path) -> None:
        """Run a program without anybody's settings."""
        command = [str(word) for word in words]
        subprocess.run(command, cwd=str(cwd), env=QUIET, check=True, stdout=subprocess.DEVNULL)

    def start(self, *words: object, ready: Callable[[], bool]) -> int:
        """Start a process that lives as long as the state; return its id once `ready`."""
        with open(self.directory / "process.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in words],
                cwd=str(self.directory),
                env=QUIET,
                stdout=log,
                stderr=log,
            )
        self.stack.callback(_stop, process)
        until(ready)
        return process.pid


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class State:
    """A state: how it is planted, and which checks may report it.

    It is found where one of `finds` reports a warning or an error, or advice where `advice` is set,
    that the instance without the state does not have.
    """

    finds: tuple[str, ...]
    plant: Callable[[Planted], None]
    advice: bool = False

    @property
    def name(self) -> str:
        """What an admin would call it: the docstring of its plant."""
        return (self.plant.__doc__ or "").rstrip(".")


STATES: list[State] = []


def state(
    *finds: str, advice: bool = False
) -> Callable[[Callable[[Planted], None]], Callable[[Planted], None]]:
    """Register the function below as the plant of a state."""

    def decorate(function: Callable[[Planted], None]) -> Callable[[Planted], None]:
        STATES.append(State(finds, function, advice))
        return function

    return decorate


def copied(pristine: Path, directory: Path) -> Planted:
    """Return a copy of an instance that uses its own repositories."""
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    planted = Planted(directory)
    path = str(planted.repositories).replace("'", "''")
    planted.sql(f"UPDATE ui SET ui_value = '{path}' WHERE ui_section = 'paths'")
    return planted
