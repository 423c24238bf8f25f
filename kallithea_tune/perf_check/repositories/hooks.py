"""Measures the cost of hooks for a push, and describes the hook that Kallithea would install in a
Git repository; no hook is ever run.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.app.package import kallithea_version
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.survey import Survey, survey
from kallithea_tune.perf_check.services.hook_text import (
    Waiting,
    of_extensions,
    of_git,
    of_mercurial,
)
from kallithea_tune.system import child

# Kallithea's own hooks of Mercurial, by their keys in the section hooks of the table ui.
REPO_SIZE, UPDATE = "changegroup.kallithea_repo_size", "changegroup.kallithea_update"
HOOKS_PAGE = "Admin > Settings > Hooks"
WALK_SECONDS = 0.4


@dataclass(frozen=True)
class Walk:
    """The time of a walk through the files of a repository, cut short unless `complete`."""

    ms: float
    files: int
    complete: bool


@dataclass(frozen=True)
class CustomHook:
    """A hook that is not Kallithea's: where it is set, its key, the file that it needs and that
    does not exist, and what is known of its time.

    A `place` is the page of the settings, a repository, or ``extensions.py``.
    """

    place: str
    key: str
    missing_file: str = ""
    waiting: Waiting = Waiting()

    @property
    def moment(self) -> str:
        """Who waits for it: ``push``, ``pull``, or another moment."""
        name = self.key.split(".")[0]
        if name in _AT_PULL:
            return "pull"
        return "push" if name in _AT_PUSH else name


# Of Mercurial (hg help config.hooks), git (githooks(5)), and extensions.py.
_AT_PULL = ("outgoing", "preoutgoing", "PULL_HOOK")
_AT_PUSH = (
    *("changegroup", "prechangegroup", "pretxnchangegroup", "incoming", "pushkey", "prepushkey"),
    *("txnopen", "pretxnopen", "pretxnclose", "txnclose", "txnabort"),
    *("pre-receive", "update", "proc-receive", "post-receive", "post-receive-custom"),
    *("post-update", "reference-transaction", "push-to-checkout", "PUSH_HOOK"),
)


@dataclass(frozen=True)
class PushHooks:
    """The hooks that pushes wait for.

    `walk` is the work of the hook repo_size in `largest`, the largest Mercurial repository; None
    where the hook is off. `updates` says whether the hook is on that updates a working directory.
    """

    largest: str
    walk: Optional[Walk]
    updates: bool
    custom: tuple[CustomHook, ...]

    @property
    def examined(self) -> Examined:
        """The hooks that were looked up."""
        return Examined(len(self.custom), len(self.custom), "custom hook")


@measurement(
    seconds=WALK_SECONDS,
    needs=("database",),
    uses=(survey,),
    decided_by=("sqlalchemy.*", "here"),
)
def push_hooks(context: Context) -> PushHooks:
    """Do the work of the hook repo_size, for `WALK_SECONDS` at most, and read custom hooks."""
    surveyed = context.measure(survey)
    largest = max(surveyed.hg, key=lambda repository: repository.bytes, default=None)
    walk = None
    if largest and REPO_SIZE in surveyed.hooks:
        within = max(0.1, min(WALK_SECONDS, context.deadline.left))
        path = surveyed.path(largest.name)
        walk = child.call(walk_repository, within + 5, path=path, within=within)
    custom = custom_hooks(surveyed, os.path.dirname(context.instance.path))
    return PushHooks(largest.name if largest else "", walk, UPDATE in surveyed.hooks, custom)


def walk_repository(path: str, within: float) -> Walk:
    """Walk the repository and stat each file, as Kallithea's hook ``repo_size`` does after each
    push; stop after `within` seconds.
    """
    began = time.perf_counter()
    files = 0
    for parent, _, names in os.walk(path):
        for name in names:
            files += 1
            try:
                os.lstat(os.path.join(parent, name))
            except OSError:
                continue
        if time.perf_counter() - began > within:
            return Walk((time.perf_counter() - began) * 1000, files, complete=False)
    return Walk((time.perf_counter() - began) * 1000, files, complete=True)


def custom_hooks(surveyed: Survey, directory: str) -> tuple[CustomHook, ...]:
    """Return the custom hooks of Mercurial, of Git, and of ``extensions.py`` in `directory`."""
    commands = {
        (HOOKS_PAGE, key): command
        for key, command in surveyed.hooks.items()
        if key not in (REPO_SIZE, UPDATE)
    }
    for repository in surveyed.hg:
        for key, command in repository.hooks.items():
            commands[repository.name, key] = command
    mercurial = [
        CustomHook(place, key, missing_file(command), of_mercurial(command))
        for (place, key), command in commands.items()
    ]
    git = [
        CustomHook(item.name, name, waiting=of_git(surveyed.path(item.name), name))
        for item in surveyed.git
        for name in item.hooks.custom
    ]
    found = {name: of_extensions(directory, name) for name in ("PUSH_HOOK", "PULL_HOOK")}
    extensions = [
        CustomHook("extensions.py", name, waiting=waiting)
        for name, waiting in found.items()
        if waiting is not None
    ]
    return (*mercurial, *git, *extensions)


def missing_file(hook: str) -> str:
    """Return the file, given by its absolute path, that a hook of Mercurial needs and that does not
    exist, or nothing.
    """
    if hook.startswith("python:"):
        path = hook[len("python:") :].rpartition(":")[0]
    else:
        try:
            path = (shlex.split(hook) or [""])[0]
        except ValueError:
            return ""
    return path if os.path.isabs(path) and not os.path.exists(path) else ""


@dataclass(frozen=True)
class ExpectedHook:
    """The hook that Kallithea would write today: its version, empty where that is unknown, and the
    Python that runs it.
    """

    version: str
    interpreter: str

    @property
    def examined(self) -> Examined:
        """The one installation."""
        return Examined(1, 1, "installation")


@measurement()
def expected_hook(context: Context) -> ExpectedHook:
    """Read the setting ``git_hook_interpreter`` and the version of the installed Kallithea."""
    instance = context.instance
    interpreter = instance.settings.get("git_hook_interpreter", "").strip()
    return ExpectedHook(kallithea_version(), interpreter or sys.executable)
