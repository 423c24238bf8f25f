"""Hooks: what each push waits for, and whether Kallithea's own still reach it."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.hooks import missing_file
from kallithea_tune.perf_check.repositories.survey import Survey
from kallithea_tune.perf_check.repositories.survey_checks import (
    SECONDS,
    SHARED,
    Facts,
    examined,
    named,
    path_of,
    sample,
    survey,
)
from kallithea_tune.system import child

JUDGEMENT = "our judgement"
REPO_SIZE, UPDATE = "changegroup.kallithea_repo_size", "changegroup.kallithea_update"
SLOW_MS = 500
WALK_SECONDS = 0.4
VCS_PAGE = "Admin > Settings > VCS"


def judge_repo_size(found: Survey, name: str, walk: Mapping[str, Any]) -> Finding:
    """The hook walks the whole repository while the one who pushes waits, to print one line."""
    evidence = {
        "walk_ms": walk["ms"],
        "files": walk["files"],
        "repository": name,
        **({} if walk["complete"] else {"whole": False}),
    }
    common: dict[str, Any] = {
        "subject": "repo_size",
        "evidence": evidence,
        "threshold": "%d ms" % SLOW_MS,
        "source": "kallithea/bin/vcs_hooks.py, repo_size; limit: our judgement",
    }
    if walk["complete"] and walk["ms"] < SLOW_MS:
        return Finding(
            Severity.ok,
            "the size shown after each push takes {:.2g} ms to find".format(walk["ms"]),
            **common,
        )
    return Finding(
        Severity.advice,
        "each push to {} waits for its size to be found: {}{:.2g} s".format(
            name, "" if walk["complete"] else "more than ", walk["ms"] / 1000
        ),
        remedy=f'{VCS_PAGE}: no "Show repository size after push"',
        impact_ms=walk["ms"],
        impact_per=f"push to {name}",
        **common,
    )


def judge_custom(found: Survey) -> Iterator[Finding]:
    """Hooks of the admin's own are named and never run: they might act. A file that is missing is
    said.
    """
    own = {key: value for key, value in found["hooks"].items() if key not in (REPO_SIZE, UPDATE)}
    places = {("Admin > Settings > Hooks", key): value for key, value in own.items()}
    for facts in examined(found, "hg"):
        places.update({(facts["name"], key): value for key, value in facts["hooks"].items()})
    scripts = [facts["name"] for facts in examined(found, "git") if facts["hooks"]["custom"]]
    evidence = {
        **sample(found),
        "mercurial_hooks": len(places),
        "git_with_custom_hooks": len(scripts),
    }
    common: dict[str, Any] = {"evidence": evidence, "source": JUDGEMENT}
    lost = {place: missing_file(value) for place, value in places.items() if missing_file(value)}
    for (where, key), path in list(lost.items())[:3]:
        yield Finding(
            Severity.warning,
            f"the hook {key} needs {path}, which is not there",
            where,
            threshold="its file exists",
            remedy="put the file back, or remove the hook",
            **common,
        )
    if UPDATE in found["hooks"]:
        yield Finding(
            Severity.advice,
            "each Mercurial push updates a working directory on the server",
            "update",
            remedy=f'{VCS_PAGE}: no "Update repository after push", unless something reads it',
            confidence="medium",
            threshold="off, Kallithea's default",
            **common,
        )
    if not lost:
        said = "%d custom hooks of Mercurial; %d Git repositories have some" % (
            len(places),
            len(scripts),
        )
        yield Finding(
            Severity.ok,
            said if places or scripts else "there are no custom hooks",
            "custom",
            **common,
        )


@check(
    "HOOK001",
    "hooks-time",
    "Time that hooks add to a push",
    "repositories",
    seconds=SECONDS + WALK_SECONDS,
    needs=("database",),
    tags=("probe", "hooks"),
    shares=SHARED,
)
def times(context: Context) -> Iterator[Finding]:
    """Time what the hook repo_size does, on the largest Mercurial repository: stat each file, while
    the pusher waits.

    500 ms are advice to switch it off (our judgement). The hook that updates a working directory
    after each push is advice, too. Custom hooks (table ui, hgrc files, Git hook scripts) are
    counted and never run, since they might mail, build or deploy; one whose file is missing is a
    warning.
    """
    found = survey(context)
    largest = max(examined(found, "hg"), key=lambda facts: int(facts["bytes"]), default=None)
    if largest and REPO_SIZE in found["hooks"]:
        within = max(0.1, min(WALK_SECONDS, context.deadline.left))
        yield judge_repo_size(
            found,
            largest["name"],
            child.call(
                "kallithea_tune.perf_check.repositories.hooks:repo_size",
                within + 5,
                within=within,
                path=os.path.join(found["root"], largest["name"]),
            ),
        )
    yield from judge_custom(found)


def ailment(facts: Facts, version: str, interpreter: str) -> tuple[str, Severity]:
    """Return what keeps Kallithea's hook of a Git repository from working as it should, and how bad
    that is.

    `version` is that of the installed Kallithea, empty when unknown; `interpreter` the one hooks
    are written for.
    """
    hooks = facts["hooks"]
    post: Optional[Mapping[str, Any]] = hooks["post_receive"]
    if hooks["pre_receive"] and hooks["pre_receive"]["version"]:
        # Before 0.7 there was one; it calls what 0.7 no longer has, and git then rejects the push.
        return "an old pre-receive hook refuses each push", Severity.error
    if hooks["hooks_path"]:
        return "git looks for hooks in {}".format(hooks["hooks_path"]), Severity.warning
    if post is None:
        return "without Kallithea's hook pushes go unnoticed", Severity.warning
    if not post["version"]:
        return "somebody else's post-receive hook is in place of Kallithea's", Severity.warning
    if not post["starts"] or not post["executable"]:
        return "Kallithea's hook cannot start: pushes go unnoticed", Severity.error
    if version and post["version"] != version:
        return "the hook is that of Kallithea {}".format(post["version"]), Severity.warning
    if interpreter and os.path.dirname(post["interpreter"]) != os.path.dirname(interpreter):
        return "the hook runs another Python: {}".format(post["interpreter"]), Severity.advice
    return "", Severity.ok


def judge_git_hooks(found: Survey, version: str, interpreter: str, ini: str) -> Iterator[Finding]:
    """Kallithea learns of pushes over Git by its post-receive hook alone: log, feeds, and the last
    change shown.
    """
    groups: dict[tuple[str, Severity], list[Facts]] = {}
    mine = examined(found, "git")
    for facts in mine:
        groups.setdefault(ailment(facts, version, interpreter), []).append(facts)
    well = len(groups.pop(("", Severity.ok), []))
    common: dict[str, Any] = {
        "threshold": f"Kallithea {version}'s hook",
        "source": "kallithea/model/scm.py, install_git_hooks",
    }
    for (what, severity), sick in groups.items():
        names = [facts["name"] for facts in sick]
        evidence = {**sample(found, "git"), "well": well, "sick": len(sick), "names": names[:20]}
        yield Finding(
            severity,
            f"{what}: {named(names, 1)}",
            _kind(what),
            evidence,
            remedy=_mend(found, sick[0], ini),
            **common,
        )
    if not groups:
        yield Finding(
            Severity.ok,
            "Kallithea's hook is in each Git repository, and can start",
            evidence={**sample(found, "git"), "well": well},
            **common,
        )


def _kind(what: str) -> str:
    """Return the first words of an ailment, which stay the same from run to run."""
    return " ".join(what.partition(":")[0].split()[:5])


def _mend(found: Survey, facts: Facts, ini: str) -> str:
    install = f"kallithea-cli repo-scan -c {ini} --install-git-hooks"
    hooks, path = facts["hooks"], path_of(found, facts["name"])
    if hooks["hooks_path"]:
        return f"git -C {path} config --unset core.hooksPath"
    if hooks["post_receive"] and not hooks["post_receive"]["version"]:
        return f"cd {path}/hooks; mv -n post-receive post-receive-custom; {install}"
    return install


@check(
    "HOOK002",
    "hooks-git",
    "Kallithea's hooks in Git repositories",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe", "hooks"),
    shares=SHARED,
)
def git(context: Context) -> Iterator[Finding]:
    """Read the hook that Kallithea puts into each Git repository: is it there, which version, can
    its Python start?

    Kallithea never looks at it again, and learns of pushes by it alone: it logs them, and shows the
    new change. A pre-receive hook of Kallithea before 0.7 makes git refuse each push: an error, as
    is an interpreter that is gone (after the virtual environment was moved). A hook that is
    missing, another's or of another version is a warning.
    """
    found, instance = survey(context), context.instance
    if found["kinds"]["git"]:
        interpreter = instance.settings.get("git_hook_interpreter", "").strip() or sys.executable
        yield from judge_git_hooks(
            found, installed(instance.use), interpreter, shlex.quote(instance.path)
        )


def installed(use: str) -> str:
    """Return the version of the distribution behind ``egg:name``, empty where there is none."""
    from importlib import metadata

    try:
        return metadata.version(use.partition(":")[2].partition("#")[0])
    except (metadata.PackageNotFoundError, ValueError):
        return ""
