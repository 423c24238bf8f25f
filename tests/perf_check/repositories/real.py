"""Judges real repositories in a directory, without a database that has them."""

from __future__ import annotations

from pathlib import Path

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor
from kallithea_tune.perf_check.measurement import Context, Deadline, Outcome
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.repositories import mercurial
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.survey import Results, Survey, survey

NO_INSTANCE = Instance("", "", "", "", {}, {}, {}, Redactor(frozenset()))


def findings(check: Check, repos: Path) -> "list[Finding]":
    """Judge the repositories in the directory, whose names begin with ``git`` or ``hg``."""
    results = Results(str(repos), float("inf"), mercurial.supported())
    for path in sorted(repos.iterdir()):
        results.examine(path.name, Kind.git if path.name.startswith("git") else Kind.hg)
    surveyed = Survey(
        root=str(repos),
        git_total=len(list(repos.glob("git*"))),
        hg_total=len(list(repos.glob("hg*"))),
        registered=len(list(repos.iterdir())),
        git=tuple(results.git),
        hg=tuple(results.hg),
        broken=tuple(results.broken),
        rust=mercurial.has_rust(),
    )
    context = Context(NO_INSTANCE, Deadline(60), outcomes={survey: Outcome(surveyed)})
    return list(check.findings(context))


def bad(check: Check, repos: Path) -> "dict[str, Finding]":
    """Return what is found in the repositories in the directory, by its subject."""
    found = findings(check, repos)
    return {item.subject: item for item in found if item.severity > Severity.ok}
