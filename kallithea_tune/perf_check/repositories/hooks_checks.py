"""Hooks: the time that a push waits for them, and whether Kallithea's own can work."""

from __future__ import annotations

import functools
import os
from typing import Iterator

from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.repositories.git import GitRepository
from kallithea_tune.perf_check.repositories.git_hooks import GitHooks
from kallithea_tune.perf_check.repositories.hooks import (
    ExpectedHook,
    PushHooks,
    Walk,
    expected_hook,
    push_hooks,
)
from kallithea_tune.perf_check.repositories.survey import Kind, Survey, git_survey, survey
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import first_of, shell_word

SLOW_MS = 500
VCS_PAGE = "Admin > Settings > VCS"
# How many missing files of hooks are reported, and how many repositories the evidence lists.
REPORTED, NAMED = 3, 20


@check(
    "HOOK001",
    "hooks-time",
    "Time that hooks add to a push",
    measures=(survey, push_hooks),
    source="our judgement",
    tags=("probe", "hooks"),
    disturbed_by=(Part.cpu, Part.disk),
)
def times(surveyed: Survey, hooks: PushHooks) -> Iterator[Finding]:
    """Judge the time that each push waits, and report hooks whose files are missing."""
    if hooks.walk:
        yield judge_repo_size(hooks.largest, hooks.walk)
    yield from judge_custom(surveyed, hooks)


def judge_repo_size(name: str, walk: Walk) -> Finding:
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
        remedy=f'{VCS_PAGE}: no "Show repository size after push"',
        impact_ms=walk.ms,
        impact_per=f"push to {name}",
    )


def judge_custom(surveyed: Survey, hooks: PushHooks) -> Iterator[Finding]:
    """The admin's own hooks are counted and never run: they might act. A missing file is
    reported.
    """
    scripts = sum(bool(repository.hooks.custom) for repository in surveyed.git)
    evidence = {
        **surveyed.sample(),
        "mercurial_hooks": len(hooks.custom),
        "git_with_custom_hooks": scripts,
    }
    finding = functools.partial(Finding, evidence=evidence)
    failing = [hook for hook in hooks.custom if hook.missing_file]
    for hook in failing[:REPORTED]:
        yield finding(
            Severity.warning,
            f"the hook {hook.key} needs {hook.missing_file}, which does not exist",
            hook.place,
            threshold="its file exists",
            remedy="put the file back, or remove the hook",
        )
    if hooks.updates:
        yield finding(
            Severity.advice,
            "each Mercurial push updates a working directory on the server",
            "update",
            remedy=f'{VCS_PAGE}: no "Update repository after push", unless something reads it',
            confidence="medium",
            threshold="off, Kallithea's default",
        )
    if not failing:
        counts = (
            f"{len(hooks.custom)} custom hooks of Mercurial; {scripts} Git repositories have some"
        )
        there_are = bool(hooks.custom or scripts)
        yield finding(Severity.ok, counts if there_are else "there are no custom hooks", "custom")


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
        yield from judge_git_hooks(surveyed, expected, shell_word(settings.instance.path))


def judge_git_hooks(surveyed: Survey, expected: ExpectedHook, ini: str) -> Iterator[Finding]:
    """Group the repositories by the problem of the hook, and report each group."""
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
            remedy=_fix(surveyed, repositories[0], ini),
        )
    if not groups:
        yield finding(
            Severity.ok,
            "Kallithea's hook is in each Git repository, and can start",
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
        return "somebody else's post-receive hook is in place of Kallithea's", Severity.warning
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


def _fix(surveyed: Survey, repository: GitRepository, ini: str) -> str:
    install = f"kallithea-cli repo-scan -c {ini} --install-git-hooks"
    hooks, path = repository.hooks, surveyed.quoted_path(repository.name)
    if hooks.hooks_path:
        return f"git -C {path} config --unset core.hooksPath"
    if hooks.post_receive and not hooks.post_receive.version:
        return f"cd {path}/hooks; mv -n post-receive post-receive-custom; {install}"
    return install
