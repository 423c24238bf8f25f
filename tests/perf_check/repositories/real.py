"""Judges real repositories in a directory, without a database that has them."""

from __future__ import annotations

from pathlib import Path

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor
from kallithea_tune.perf_check.measurement import Context, Deadline, Outcome
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.repositories import git, mercurial
from kallithea_tune.perf_check.repositories.survey import Survey, survey

FOREVER = float("inf")
NO_INSTANCE = Instance("", "", "", "", {}, {}, {}, Redactor(frozenset()))


def findings(check: Check, repos: Path) -> "list[Finding]":
    """Judge the repositories in the directory, whose names begin with ``git`` or ``hg``."""
    paths = {path.name: str(path) for path in sorted(repos.iterdir())}
    names, hg_names = ([name for name in paths if name.startswith(kind)] for kind in ("git", "hg"))
    known = mercurial.supported()
    surveyed = Survey(
        root=str(repos),
        git_total=len(names),
        hg_total=len(hg_names),
        registered=len(paths),
        git=tuple(git.examine(name, paths[name], FOREVER) for name in names),
        hg=tuple(mercurial.examine(name, paths[name], FOREVER, known) for name in hg_names),
        rust=mercurial.has_rust(),
    )
    context = Context(NO_INSTANCE, Deadline(60), outcomes={survey: Outcome(surveyed)})
    return list(check.findings(context))


def bad(check: Check, repos: Path) -> "dict[str, Finding]":
    """Return what is found in the repositories in the directory, by its subject."""
    found = findings(check, repos)
    return {item.subject: item for item in found if item.severity > Severity.ok}
