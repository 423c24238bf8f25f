"""Whether the git that Kallithea runs works, and starts as quickly as git does."""

from __future__ import annotations

import re
from typing import Iterator, Optional

from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import IniEdit, Option, Remedy
from kallithea_tune.perf_check.repositories.survey import Survey, survey
from kallithea_tune.perf_check.services.git_program import Git, GitProgram, git_program
from kallithea_tune.text import counted

# Measured: git 2.39 takes 2 to 5 ms. A busy machine slows down every git.
SLOW_MS, TIMES_SLOWER = 50, 5
ALONE_MS = 200  # without another git to compare with
# Measured on Kallithea 0.7.0: the summary and each page of the changelog.
CALLS_PER_PAGE = 2
OLDEST = (1, 7, 4)
OLDEST_VERSION = ".".join(map(str, OLDEST))


@check(
    "PROG001",
    "git-program",
    "Time that git takes to start",
    measures=(git_program, survey, configuration),
    threshold=f"{SLOW_MS} ms, {TIMES_SLOWER} times that of another git",
    source="measured: git 2.39 takes 2 to 5 ms",
    harm=Harm.some_pages,
    tags=("probe", "git"),
)
def git_starts(
    measured: GitProgram, surveyed: Survey, settings: Configuration
) -> Iterator[Finding]:
    """Judge the program of ``git_path``, where there are Git repositories for it."""
    if measured.git and surveyed.git_total:
        yield judge(measured, surveyed.git_total, settings.instance.section)


def judge(measured: GitProgram, repositories: int, section: str) -> Finding:
    """Each page of a Git repository runs git, and each pull and push over HTTP."""
    git, other = measured.git or Git(""), measured.other
    evidence: dict[str, object] = {"git_ms": git.ms}
    if other:
        evidence[f"{other.path}_ms"] = other.ms
    evidence["git_path"] = measured.configured
    remedy = _remedy(other, section)
    if git.failed and not git.endless:
        return Finding(
            Severity.error,
            f"{counted(repositories, 'Git repository')} cannot be used: "
            f"git_path = {measured.configured} does not run",
            evidence={"said": git.failed},
            threshold="it runs",
            source="kallithea/lib/utils2.py, check_git_version",
            remedy=remedy,
        )
    if git.version and _numbers(git.version) < OLDEST:
        return Finding(
            Severity.error,
            f"git {git.version} is too old: Kallithea does not start with it",
            evidence=evidence,
            threshold=OLDEST_VERSION,
            source="kallithea/lib/utils2.py, check_git_version",
            remedy=remedy,
        )
    more_ms = git.ms - (other.ms if other else 0.0)
    limit = max(SLOW_MS, TIMES_SLOWER * other.ms) if other else ALONE_MS
    if git.ms <= limit:
        return Finding(Severity.ok, f"git starts in {git.ms:.0f} ms", evidence=evidence)
    more = "more than " if git.endless else ""
    return Finding(
        Severity.warning,
        f"{measured.configured} (git_path) takes {more}{git.ms:.0f} ms to start: pages of Git "
        f"repositories run it {CALLS_PER_PAGE} times and more",
        evidence=evidence,
        remedy=remedy,
        impact_ms=CALLS_PER_PAGE * more_ms,
        impact_per="summary page of a Git repository",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _remedy(other: Optional[Git], section: str) -> Remedy:
    if not other:
        return "install git, or set git_path to it and restart Kallithea"
    if not section:
        return f"set git_path = {other.path} and restart Kallithea"
    return IniEdit((Option(section, "git_path", other.path.replace("%", "%%")),))
