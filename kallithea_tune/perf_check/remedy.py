"""What removes a finding, as a value: what is printed is what `--fix` carries out.

A remedy that only a human can carry out is a sentence, a plain `str`; so `str` of any remedy is
what the report prints.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional, Union

from kallithea_tune.text import shell_word


class Effect(enum.Enum):
    """What becomes of the state before, which decides how `--fix` asks."""

    reversible = "reversible"
    """The backup or another command brings it back, or nothing is lost: see `--fix all-safe`."""
    lasting = "lasting"
    """It stays so, without a loss of data."""
    deletes = "deletes"
    """Data is deleted, and only a backup brings it back."""


@dataclass(frozen=True)
class Option:
    """An option of the ini file as it should be; without a `value` it is removed."""

    section: str
    name: str
    value: Optional[str] = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name} = {self.value}"


@dataclass(frozen=True)
class IniEdit:
    """Options to set in the ini file or to remove from it, and `note`, what else to know."""

    options: tuple[Option, ...]
    note: str = ""
    effect: Effect = Effect.reversible

    def __str__(self) -> str:
        """Return the edit as in ``set debug = false, remove instance_id in [app:main]``."""
        parts = []
        for section in dict.fromkeys(option.section for option in self.options):
            own = [option for option in self.options if option.section == section]
            verbs = [f"{'remove' if item.value is None else 'set'} {item}" for item in own]
            parts.append("{} in [{}]".format(", ".join(verbs), section))
        return _with_note("; ".join(parts), self.note)


@dataclass(frozen=True)
class Command:
    """A program to run: its `words`, complete, in `directory` and as `user`.

    Without a directory it runs anywhere, without a user as the owner of the data. `stopped` says
    that Kallithea must not run meanwhile.
    """

    words: tuple[str, ...]
    directory: str = ""
    user: str = ""
    note: str = ""
    effect: Effect = Effect.lasting
    stopped: bool = False

    def __str__(self) -> str:
        """Return the line to paste into a shell."""
        line = " ".join(map(shell_word, self.words))
        if self.user:
            line = f"sudo -u {shell_word(self.user)} {line}"
        if self.directory:
            line = f"cd {shell_word(self.directory)} && {line}"
        return _with_note(f"stop Kallithea, then: {line}" if self.stopped else line, self.note)


@dataclass(frozen=True)
class Statements:
    """SQL and the `client` that it is passed to, as its last argument and without a password."""

    sql: str
    client: tuple[str, ...]
    note: str = ""
    effect: Effect = Effect.lasting
    stopped: bool = False

    def __str__(self) -> str:
        """Return the line to paste into a shell."""
        line = " ".join(map(shell_word, (*self.client, self.sql)))
        return _with_note(f"stop Kallithea, then: {line}" if self.stopped else line, self.note)


@dataclass(frozen=True)
class Steps:
    """Several remedies, all of which are needed, in their order."""

    steps: tuple[Union[IniEdit, Command, Statements], ...]
    note: str = ""

    def __str__(self) -> str:
        return _with_note("; ".join(map(str, self.steps)), self.note)


Remedy = Union[str, IniEdit, Command, Statements, Steps]


def _with_note(text: str, note: str) -> str:
    return f"{note}: {text}" if note else text


def steps_of(remedy: Remedy) -> tuple[Union[IniEdit, Command, Statements], ...]:
    """Return what can be carried out of `remedy`, in its order; nothing of a sentence."""
    if isinstance(remedy, Steps):
        return remedy.steps
    return () if isinstance(remedy, str) else (remedy,)
