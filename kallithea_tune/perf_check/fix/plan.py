"""What is carried out of which findings, as a value: nothing here touches anything but text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterator, Optional, Sequence

from kallithea_tune.config import inifile
from kallithea_tune.config.inifile import Edit
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Command, Effect, IniEdit, Statements, Step, steps_of


@dataclass(frozen=True)
class Task:
    """A finding and the steps that remove it; `by_hand` says why none of them is carried out."""

    finding: Finding
    steps: tuple[Step, ...] = ()
    by_hand: str = ""

    @property
    def effects(self) -> frozenset[Effect]:
        """The effects of its steps."""
        return frozenset(step.effect for step in self.steps)

    @property
    def deletes(self) -> bool:
        """Whether data is deleted, which has a question of its own."""
        return not self.by_hand and Effect.deletes in self.effects

    @property
    def stopped(self) -> bool:
        """Whether Kallithea must not run meanwhile."""
        return not self.by_hand and any(
            step.stopped for step in self.steps if not isinstance(step, IniEdit)
        )

    @property
    def edits(self) -> tuple[IniEdit, ...]:
        """Its edits of the ini file."""
        return tuple(step for step in self.steps if isinstance(step, IniEdit))

    @property
    def restart(self) -> bool:
        """Whether the finding is about running processes, which have read the old file."""
        return any(edit.restart for edit in self.edits)


@dataclass(frozen=True)
class Plan:
    """The tasks, the one edit of the ini file, and the commands before and after it."""

    tasks: tuple[Task, ...]
    edit: Edit
    before: tuple[Command, ...] = ()
    after: tuple[Command, ...] = ()

    @property
    def carried_out(self) -> tuple[Task, ...]:
        """The tasks of which something is carried out."""
        return tuple(task for task in self.tasks if not task.by_hand)

    @property
    def checks(self) -> frozenset[str]:
        """The ids of the checks that are measured again."""
        return frozenset(task.finding.check for task in self.carried_out)


def tasks(findings: Sequence[Finding], all_safe: bool) -> tuple[Task, ...]:
    """Return a task for each finding; with `all_safe` for those whose effect can be undone."""
    found = [item for item in findings if item.severity > Severity.unknown and not item.ignored]
    made = (Task(item, steps_of(item.exact), _by_hand(item)) for item in found)
    return tuple(task for task in made if not all_safe or _is_safe(task))


def _is_safe(task: Task) -> bool:
    return not task.by_hand and task.effects == {Effect.reversible}


def _by_hand(finding: Finding) -> str:
    steps = steps_of(finding.exact)
    if not finding.exact:
        return "the check has no remedy"
    if not steps:
        return "only you can do it"
    if any(isinstance(step, Statements) for step in steps):
        return "run the SQL yourself, with the client shown"
    if any(isinstance(step, Command) and step.service for step in steps):
        return "a service has to run it"
    return ""


def make(wanted: Sequence[Task], edit: Edit) -> Plan:
    """Combine the edits of all tasks into one of the file that `edit` leaves unchanged.

    A task that contradicts one before it, or of which nothing would change, is left out.
    """
    chosen: list[Task] = []
    values: dict[tuple[str, str], Optional[str]] = {}
    for task in wanted:
        own = _values(task)
        if not task.by_hand and any(values.get(key, value) != value for key, value in own.items()):
            task = replace(task, by_hand="it contradicts another remedy, so fix that one first")
        if not task.by_hand:
            after = _edited(edit, task)
            if after == edit and len(task.edits) == len(task.steps) and not own.keys() & values:
                task = replace(task, by_hand="the ini file already has these values")
            edit = after
            values.update(own)
        chosen.append(task)
    running = [task for task in chosen if not task.by_hand]
    return Plan(
        tuple(chosen),
        edit,
        tuple(dict.fromkeys(step for task in running for step in _commands(task, before=True))),
        tuple(dict.fromkeys(step for task in running for step in _commands(task, before=False))),
    )


def _values(task: Task) -> dict[tuple[str, str], Optional[str]]:
    return {
        (option.section, option.name): option.value
        for edit in task.edits
        for option in edit.options
    }


def _edited(edit: Edit, task: Task) -> Edit:
    for step in task.edits:
        for option in step.options:
            edit = inifile.also(edit, option.section, {option.name: option.value})
    return edit


def _commands(task: Task, before: bool) -> Iterator[Command]:
    """Yield the commands that come before the last edit of the task, or the others."""
    edited = [number for number, step in enumerate(task.steps) if isinstance(step, IniEdit)]
    last = edited[-1] if edited else -1
    for number, step in enumerate(task.steps):
        if isinstance(step, Command) and (number < last) is before:
            yield step
