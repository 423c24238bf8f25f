"""Hooks: the time that a push waits for them, and whether Kallithea's own can work."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Iterable, Iterator, Mapping, Sequence

from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Remedy, Statements, Steps
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.git import GitRepository
from kallithea_tune.perf_check.repositories.git_hooks import GitHooks
from kallithea_tune.perf_check.repositories.hooks import (
    REPO_SIZE,
    UPDATE,
    CustomHook,
    ExpectedHook,
    PushHooks,
    Walk,
    expected_hook,
    push_hooks,
)
from kallithea_tune.perf_check.repositories.survey import Survey, git_survey, survey
from kallithea_tune.perf_check.services.hook_text import Waiting
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import counted, first_of

SLOW_MS = 500
VCS_PAGE = "Admin > Settings > VCS"
# How many missing files of hooks are reported, and how many repositories the evidence lists.
REPORTED, NAMED = 3, 20


@check(
    "HOOK001",
    "hooks-time",
    "Time that hooks add to a push",
    measures=(survey, push_hooks, sql_client),
    source="our judgement",
    tags=("probe", "hooks"),
    disturbed_by=(Part.cpu, Part.disk),
)
def times(surveyed: Survey, hooks: PushHooks, client: SqlClient) -> Iterator[Finding]:
    """Judge the time that each push waits, and report hooks whose files are missing."""
    if hooks.walk:
        yield judge_repo_size(hooks.largest, hooks.walk, client)
    yield from judge_custom(surveyed, hooks, client)


def judge_repo_size(name: str, walk: Walk, client: SqlClient) -> Finding:
    """The hook walks the entire repository while the one who pushes waits, to print one line."""
    evidence: dict[str, object] = {"walk_ms": walk.ms, "files": walk.files, "repository": name}
    if not walk.complete:
        evidence["whole"] = False
    finding = functools.partial(
        Finding,
        subject="repo_size",
        evidence=evidence,
        threshold=f"{SLOW_MS} ms",
        source="kallithea/bin/vcs_hooks.py, repo_size; limit: our judgement",
    )
    if walk.complete and walk.ms < SLOW_MS:
        return finding(
            Severity.ok, f"determining the size shown after each push takes {walk.ms:.2g} ms"
        )
    more = "" if walk.complete else "more than "
    return finding(
        Severity.advice,
        f"each push to {name} waits for its size to be determined: {more}{walk.ms / 1000:.2g} s",
        remedy=_off(client, REPO_SIZE, f'{VCS_PAGE}: no "Show repository size after push", or'),
        impact_ms=walk.ms,
        excess=walk.ms / SLOW_MS,
        impact_per=f"push to {name}",
    )


def _off(client: SqlClient, key: str, note: str) -> Statements:
    """Return the remedy that switches off a hook of Mercurial, as the page of settings does."""
    sql = f"UPDATE ui SET ui_active = FALSE WHERE ui_section = 'hooks' AND ui_key = '{key}'"
    return client.statements(sql, note)


def judge_custom(surveyed: Survey, hooks: PushHooks, client: SqlClient) -> Iterator[Finding]:
    """The admin's own hooks are read and never run: they might act. How long they take is unknown
    where their text does not say.
    """
    evidence = {**surveyed.sample(), "custom_hooks": len(hooks.custom)}
    failing = [hook for hook in hooks.custom if hook.missing_file]
    for hook in failing[:REPORTED]:
        yield Finding(
            Severity.warning,
            f"the hook {hook.key} needs {hook.missing_file}, which does not exist",
            hook.place,
            evidence,
            threshold="its file exists",
            remedy="put the file back, or remove the hook",
        )
    if hooks.updates:
        yield Finding(
            Severity.advice,
            "each Mercurial push updates a working directory on the server",
            "update",
            evidence,
            remedy=_off(client, UPDATE, "unless something reads that directory"),
            confidence="medium",
            threshold="off, Kallithea's default",
        )
    groups: dict[tuple[str, str, Waiting], list[str]] = {}
    for hook in hooks.custom:
        if hook.waiting:
            groups.setdefault((hook.key, hook.moment, hook.waiting), []).append(hook.place)
    longest = sorted(groups.items(), key=lambda group: -group[0][2].sleeps)
    for (key, moment, waiting), places in longest[:REPORTED]:
        yield judge_waiting(key, moment, waiting, places)
    if not hooks.custom:
        yield Finding(Severity.ok, "there are no custom hooks", "custom", evidence)
    silent = [hook for hook in hooks.custom if not hook.waiting and not hook.missing_file]
    if silent:
        yield _not_timed(silent, evidence)


def judge_waiting(key: str, moment: str, waiting: Waiting, places: Sequence[str]) -> Finding:
    """A hook runs inside the push, or the pull: who pushes waits until it ends."""
    programs = first_of(waiting.network)
    evidence: dict[str, object] = {"places": list(places)[:NAMED]}
    if waiting.network:
        evidence["waits_for"] = list(waiting.network)
    sleeps = waiting.sleeps * 1000 >= SLOW_MS
    seconds = f"sleeps {waiting.sleeps:g} s" if sleeps else f"waits for {programs}"
    where = first_of(list(places), 1)
    return Finding(
        Severity.warning if sleeps else Severity.advice,
        f"the hook {key} in {where} {seconds}, and each {moment} waits for it",
        key,
        evidence,
        threshold=f"{SLOW_MS} ms",
        remedy="have the hook leave its work to a queue or a CI server, and end at once",
        confidence="medium",
        impact_ms=waiting.sleeps * 1000 if sleeps else None,
        excess=waiting.sleeps * 1000 / SLOW_MS if sleeps else None,
        impact_per=moment if sleeps else "",
    )


def _not_timed(silent: Sequence[CustomHook], evidence: Mapping[str, object]) -> Finding:
    keys = list(dict.fromkeys(hook.key for hook in silent))
    moments = " and ".join(sorted({hook.moment for hook in silent}))
    return Finding(
        Severity.unknown,
        f"not measured, since only you may run {'it' if len(silent) == 1 else 'them'}: "
        f"{counted(len(silent), 'custom hook')} at each {moments}, {first_of(keys)}",
        "custom",
        {**evidence, "hooks": [f"{hook.place}: {hook.key}" for hook in silent[:NAMED]]},
    )


@check(
    "HOOK002",
    "hooks-git",
    "Kallithea's hooks in Git repositories",
    measures=(git_survey, expected_hook, configuration),
    source="kallithea/model/scm.py, install_git_hooks",
    tags=("probe", "hooks"),
    harm=Harm.access,
)
def git(surveyed: Survey, expected: ExpectedHook, settings: Configuration) -> Iterator[Finding]:
    """Judge the hook by which alone Kallithea learns of pushes over Git: log, feeds, and the last
    change shown.
    """
    if surveyed.git_total:
        words = settings.instance.program("kallithea-cli", "repo-scan", "--install-git-hooks")
        yield from judge_git_hooks(surveyed, expected, Command(words))


def judge_git_hooks(
    surveyed: Survey, expected: ExpectedHook, install: Command
) -> Iterator[Finding]:
    """Group the repositories by the problem of the hook, and report each group; `install` writes
    Kallithea's hook where there is none of somebody else.
    """
    groups: dict[tuple[str, Severity], list[GitRepository]] = {}
    for repository in surveyed.git:
        groups.setdefault(problem(repository.hooks, expected), []).append(repository)
    good = len(groups.pop(("", Severity.ok), []))
    evidence = {**surveyed.sample(Kind.git), "well": good}
    finding = functools.partial(Finding, threshold=f"Kallithea {expected.version}'s hook")
    for (diagnosis, severity), repositories in groups.items():
        names = [repository.name for repository in repositories]
        yield finding(
            severity,
            f"{diagnosis}: {first_of(names, 1)}",
            _subject(diagnosis),
            {**evidence, "sick": len(names), "names": names[:NAMED]},
            remedy=_fix(surveyed, repositories, install),
        )
    if not groups:
        yield finding(
            Severity.ok,
            "Kallithea's hook is installed in each Git repository, and can start",
            evidence=evidence,
        )


def problem(hooks: GitHooks, expected: ExpectedHook) -> tuple[str, Severity]:
    """Return the problem of Kallithea's hook in a Git repository and its severity; empty and ok
    without one.
    """
    post = hooks.post_receive
    has_one = expected.version.startswith("0.6.")
    if hooks.pre_receive and hooks.pre_receive.version and not has_one:
        # Before 0.7 there was one; it calls what 0.7 no longer has, and git then rejects the push.
        return "an old pre-receive hook refuses each push", Severity.error
    if hooks.hooks_path:
        return f"git looks for hooks in {hooks.hooks_path}", Severity.warning
    if post is None:
        return "without Kallithea's hook pushes go unnoticed", Severity.warning
    if not post.version:
        return "another post-receive hook is installed instead of Kallithea's", Severity.warning
    if not post.interpreter_found or not post.executable:
        return "Kallithea's hook cannot start: pushes go unnoticed", Severity.error
    if expected.version and post.version != expected.version:
        return f"the hook is that of Kallithea {post.version}", Severity.warning
    directory = os.path.dirname(expected.interpreter)
    if expected.interpreter and os.path.dirname(post.interpreter) != directory:
        return f"the hook runs another Python: {post.interpreter}", Severity.advice
    return "", Severity.ok


def _subject(diagnosis: str) -> str:
    """Return the first words of a diagnosis, which stay the same from run to run."""
    return " ".join(diagnosis.partition(":")[0].split()[:5])


def _fix(surveyed: Survey, repositories: Sequence[GitRepository], install: Command) -> Remedy:
    """Return the remedy for all `repositories`, which have the same problem."""
    hooks = repositories[0].hooks
    paths = [surveyed.path(repository.name) for repository in repositories]
    if hooks.linked:
        return "replace the link hooks with a directory, then: " + str(install)
    if hooks.hooks_path:
        unset = ("config", "--unset", "core.hooksPath")
        return _steps(Command(("git", "-C", path, *unset)) for path in paths)
    if hooks.post_receive and not hooks.post_receive.version:
        # Kallithea's hook runs it by this name.
        move = Command(("mv", "-n", "post-receive", "post-receive-custom"))
        moves = [replace(move, directory=os.path.join(path, "hooks")) for path in paths]
        return _steps([*moves, install])
    return install


def _steps(commands: Iterable[Command]) -> Remedy:
    steps = tuple(commands)
    return steps[0] if len(steps) == 1 else Steps(steps)
