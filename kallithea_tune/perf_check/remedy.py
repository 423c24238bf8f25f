"""What removes a finding, as a value: what is printed is what `--fix` carries out.

A remedy that only a human can carry out is a sentence, a plain `str`; so `str` of any remedy is
what the report prints.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from typing import Callable, Mapping, Optional, Union

from kallithea_tune.config import pastedeploy
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor, secrets_of
from kallithea_tune.text import shell_word

_PERCENT = re.compile(r"%(?!\(here\)s)")


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
    """An option of the ini file as it should be; without a `value` it is removed.

    The value is written literally, so that a ``%`` in it must be doubled.
    """

    section: str
    name: str
    value: Optional[str] = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name} = {self.value}".rstrip()


@dataclass(frozen=True)
class IniEdit:
    """Options to set in the ini file or to remove from it, and `note`, what else to know.

    `restart` says that the finding is about running processes, and goes when these are restarted.
    """

    options: tuple[Option, ...]
    note: str = ""
    effect: Effect = Effect.reversible
    restart: bool = False

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
    that Kallithea must not run meanwhile, and `service` that the program runs until it is stopped.
    """

    words: tuple[str, ...]
    directory: str = ""
    user: str = ""
    note: str = ""
    effect: Effect = Effect.lasting
    stopped: bool = False
    service: bool = False

    @property
    def line(self) -> str:
        """The line to paste into a shell."""
        line = " ".join(map(shell_word, self.words))
        if self.user:
            line = f"sudo -u {shell_word(self.user)} {line}"
        return f"cd {shell_word(self.directory)} && {line}" if self.directory else line

    def __str__(self) -> str:
        """Return the line, after what to do or to know before."""
        return _with_note(self.line, introduction(self))


@dataclass(frozen=True)
class Statements:
    """SQL and the `client` that it is passed to, as its last argument and without a password."""

    sql: str
    client: tuple[str, ...]
    note: str = ""
    effect: Effect = Effect.lasting
    stopped: bool = False

    @property
    def line(self) -> str:
        """The line to paste into a shell."""
        return " ".join(map(shell_word, (*self.client, self.sql)))

    def __str__(self) -> str:
        """Return the line, after what to do or to know before."""
        return _with_note(self.line, introduction(self))


Step = Union[IniEdit, Command, Statements]


@dataclass(frozen=True)
class Steps:
    """Several remedies, all of which are needed, in their order."""

    steps: tuple[Step, ...]
    note: str = ""

    def __str__(self) -> str:
        return _with_note("; ".join(map(str, self.steps)), self.note)


Remedy = Union[str, IniEdit, Command, Statements, Steps]


def introduction(step: Union[Command, Statements]) -> str:
    """Return what to do or to know before the line of `step` is run, empty for nothing."""
    return ": ".join(filter(None, (step.note, "stop Kallithea, then" if step.stopped else "")))


def _with_note(text: str, note: str) -> str:
    return f"{note}: {text}" if note else text


def steps_of(remedy: Remedy) -> tuple[Step, ...]:
    """Return what can be carried out of `remedy`, in its order; nothing of a sentence."""
    if isinstance(remedy, Steps):
        return remedy.steps
    return () if isinstance(remedy, str) else (remedy,)


def changed(remedy: Remedy, change: Callable[[Step], Step]) -> Remedy:
    """Return `remedy` with `change` made to each of its steps."""
    if isinstance(remedy, Steps):
        return replace(remedy, steps=tuple(map(change, remedy.steps)))
    return remedy if isinstance(remedy, str) else change(remedy)


def secrets(remedy: Remedy) -> frozenset[str]:
    """Return the secrets among the values that `remedy` sets, which are new to the ini file."""
    edits = [step for step in steps_of(remedy) if isinstance(step, IniEdit)]
    options = [option for edit in edits for option in edit.options]
    return frozenset(secrets_of(*({option.name: option.value or ""} for option in options)))


def redacted(remedy: Remedy, redactor: Redactor) -> Remedy:
    """Return `remedy` with every secret masked, as it may be shown."""
    if isinstance(remedy, str):
        return redactor.text(remedy)
    redactor = redactor.also(secrets(remedy))
    shown = changed(remedy, lambda step: _redacted(step, redactor))
    return replace(shown, note=redactor.text(shown.note)) if isinstance(shown, Steps) else shown


def _redacted(step: Step, redactor: Redactor) -> Step:
    note = redactor.text(step.note)
    if isinstance(step, IniEdit):
        options = tuple(
            replace(item, value=item.value and redactor.value({item.name: item.value})[item.name])
            for item in step.options
        )
        return replace(step, options=options, note=note)
    if isinstance(step, Command):
        words = tuple(map(redactor.text, step.words))
        return replace(step, words=words, directory=redactor.text(step.directory), note=note)
    client = tuple(map(redactor.text, step.client))
    return replace(step, sql=redactor.text(step.sql), client=client, note=note)


def as_user(remedy: Remedy, user: str) -> Remedy:
    """Return `remedy` with `user` in the commands that do not say as whom they run."""

    def addressed(step: Step) -> Step:
        return replace(step, user=user) if isinstance(step, Command) and not step.user else step

    return changed(remedy, addressed)


def placed(remedy: Remedy, instance: Instance) -> Remedy:
    """Return `remedy` with the application's options where the ini file has them already.

    PasteDeploy lets ``[DEFAULT]`` win over the section, and ``set NAME`` in it over ``NAME``.
    """
    defaults = frozenset(pastedeploy.raw(instance.path).defaults())
    written = frozenset(instance.sections.get(instance.section, ()))

    def removed(option: Option) -> tuple[Option, ...]:
        names = (f"{form}{option.name}" for form in ("", "set ", "get "))
        there = tuple(replace(option, name=name) for name in names if name in written)
        if not there and option.name in defaults:
            return (replace(option, section="DEFAULT"),)
        return there or (option,)

    def options(option: Option) -> tuple[Option, ...]:
        if option.section != instance.section:
            return (option,)
        if option.value is None:
            return removed(option)
        got = (Option(option.section, f"get {option.name}"),)
        rest = got if got[0].name in written else ()
        if f"set {option.name}" in written:
            return (replace(option, name=f"set {option.name}"), *rest)
        return (replace(option, section="DEFAULT") if option.name in defaults else option, *rest)

    def edited(step: Step) -> Step:
        if not isinstance(step, IniEdit):
            return step
        return replace(step, options=tuple(item for each in step.options for item in options(each)))

    return changed(remedy, edited)


def actions(remedy: Remedy) -> list[Mapping[str, object]]:
    """Return what can be carried out of `remedy` for machines, a mapping for each step."""
    return [_action(step) for step in steps_of(remedy)]


def _action(step: Step) -> Mapping[str, object]:
    rest = {"effect": step.effect.value, "note": step.note}
    if isinstance(step, IniEdit):
        options = [vars(option) for option in step.options]
        return {"kind": "ini", "options": options, "restart": step.restart, **rest}
    if isinstance(step, Command):
        run = {"words": list(step.words), "directory": step.directory, "user": step.user}
        when = {"stopped": step.stopped, "service": step.service}
        return {"kind": "command", **run, **when, **rest}
    return {
        "kind": "sql",
        "sql": step.sql,
        "client": list(step.client),
        "stopped": step.stopped,
        **rest,
    }


def app_options(section: str, values: Mapping[str, Optional[str]], note: str = "") -> Remedy:
    """Return the remedy that sets `values` in the section of the application; None removes one.

    The values are literal, but for ``%(here)s``. Without a section, where the application is
    configured in another file, it is a sentence.
    """
    options = tuple(
        Option(section, name, value and _PERCENT.sub("%%", value)) for name, value in values.items()
    )
    edit = IniEdit(options, note)
    return edit if section else str(edit).replace(" in []", " where the application is configured")
