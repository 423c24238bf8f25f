"""Which repositories there are, how large, and whether database and disk agree on them."""

from __future__ import annotations

import functools
import time
from typing import Iterator, Sequence

from kallithea_tune.perf_check import commands
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, Remedy
from kallithea_tune.perf_check.repositories.discovery import KEPT_DAYS, Kind
from kallithea_tune.perf_check.repositories.git import NO_HEAD, GitRepository
from kallithea_tune.perf_check.repositories.mercurial import ABANDONED
from kallithea_tune.perf_check.repositories.survey import (
    Ahead,
    FailedRepository,
    Survey,
    survey,
)
from kallithea_tune.perf_check.repositories.worst import Tips, tips
from kallithea_tune.text import counted, first_of, megabytes, shell_word

MB = 1e6
REMOVED_MB, REMOVED_SHARE = 100, 0.1
AHEAD_DAYS = 1
# How many broken repositories are reported, each as a finding of its own.
REPORTED = 5
# How many repositories the evidence lists at most.
NAMED = 20


@check(
    "REPO001",
    "repositories-size",
    "Sizes of the repositories",
    measures=(survey, configuration),
    threshold=f"deleted ones {REMOVED_MB} MB and {REMOVED_SHARE * 100:.0f} %",
    source="our judgement",
    tags=("probe",),
    harm=Harm.housekeeping,
)
def sizes(surveyed: Survey, settings: Configuration) -> Iterator[Finding]:
    """Report the largest repositories, and judge the space that deleted ones still take."""
    yield judge_sizes(surveyed, settings.instance.path)


def judge_sizes(surveyed: Survey, ini: str) -> Finding:
    """Deleted repositories stay on disk under another name until somebody purges them."""
    sizes = surveyed.sizes
    total = sum(sizes.values())
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:3]
    removed = surveyed.removed
    evidence = {
        **surveyed.sample(),
        "total_mb": total / MB,
        "largest_mb": {name: sizes[name] / MB for name in largest},
        "deleted": removed.count,
        "deleted_mb": removed.bytes / MB,
    }
    if removed.bytes >= max(REMOVED_MB * MB, total * REMOVED_SHARE):
        return Finding(
            Severity.advice,
            f"{counted(removed.count, 'repository')} deleted {KEPT_DAYS} days ago still "
            f"{'takes' if removed.count == 1 else 'take'} {megabytes(removed.bytes)}",
            evidence=evidence,
            remedy=commands.cli(
                ini,
                "repo-purge-deleted",
                "--no-ask",
                f"--older-than={KEPT_DAYS}d",
                effect=Effect.deletes,
            ),
        )
    name = f", the largest is {largest[0]}" if largest else ""
    return Finding(
        Severity.ok,
        f"the repositories examined take {megabytes(total)}{name}",
        evidence=evidence,
    )


@check(
    "REPO002",
    "repositories-registered",
    "Repositories in the database and on disk",
    measures=(survey, configuration),
    threshold="the same in database and on disk",
    source="Kallithea manual, repo-scan",
    tags=("probe",),
    harm=Harm.access,
)
def registered(surveyed: Survey, settings: Configuration) -> Iterator[Finding]:
    """Compare the repositories that the database has with those found on disk."""
    yield from judge_registered(surveyed, settings.instance.path)


def judge_registered(surveyed: Survey, ini: str) -> Iterator[Finding]:
    """A repository that only the database has answers with errors; one that only the disk has is
    not shown.
    """
    missing, unregistered = surveyed.missing, surveyed.unregistered
    trees = surveyed.work_trees
    evidence: dict[str, object] = {
        "registered": surveyed.registered,
        "missing": len(missing),
        "unregistered": len(unregistered),
        "not_bare": len(trees),
    }
    if not surveyed.all_found:
        evidence["all_found"] = False
    if missing:
        yield _missing(surveyed, ini, evidence)
    if unregistered:
        yield Finding(
            Severity.advice,
            f"{_are(unregistered, 'on disk')} not in the database: {first_of(unregistered)}",
            "unregistered",
            {**evidence, "names": unregistered[:NAMED]},
            remedy=commands.cli(ini, "repo-scan"),
        )
    if trees:
        path, bare = (surveyed.quoted_path(trees[0] + end) for end in ("", ".new"))
        yield Finding(
            Severity.advice,
            f"Kallithea ignores {counted(len(trees), 'Git repository')} with a work tree: "
            f"{first_of(trees)}",
            "not bare",
            {**evidence, "names": trees[:NAMED]},
            remedy=f"git clone --bare {path} {bare}; then replace the other with it",
        )
    if not (missing or unregistered or trees):
        yield Finding(Severity.ok, "database and disk agree on the repositories", "", evidence)


def _are(names: Sequence[str], where: str) -> str:
    return f"{counted(len(names), 'repository')} {where} {'is' if len(names) == 1 else 'are'}"


def _missing(surveyed: Survey, ini: str, evidence: dict[str, object]) -> Finding:
    missing = surveyed.missing
    if len(missing) == surveyed.registered:
        return Finding(
            Severity.error,
            f"none of {counted(len(missing), 'repository')} is in {surveyed.root}",
            "missing",
            evidence,
            remedy="is the disk mounted? set the path in Admin > Settings > VCS",
        )
    return Finding(
        Severity.warning,
        f"{_are(missing, 'of the database')} not on disk: {first_of(missing)}",
        "missing",
        {**evidence, "names": missing[:NAMED]},
        remedy="restore them; or remove them from the database: "
        f"{commands.cli(ini, 'repo-scan', '--remove-missing')}",
    )


@check(
    "REPO003",
    "repositories-broken",
    "Broken repositories",
    measures=(survey,),
    threshold="0",
    source="formats of Git and Mercurial",
    tags=("probe",),
    harm=Harm.access,
)
def broken(surveyed: Survey) -> Iterator[Finding]:
    """Report repositories that are unusable, as far as their files alone show it.

    A HEAD that leads nowhere makes Kallithea show an empty repository.
    """
    dangling = [repository for repository in surveyed.git if repository.refs.dangling_head]
    unreadable = surveyed.unreadable
    evidence = {
        **surveyed.sample(),
        "broken": len(surveyed.broken),
        "head_lost": len(dangling),
        "unreadable": len(unreadable),
        "with_links": len(surveyed.linked),
    }
    finding = functools.partial(Finding, evidence=evidence)
    for failed in surveyed.broken[:REPORTED]:
        yield finding(Severity.error, failed.reason, failed.name, remedy=_repair(surveyed, failed))
    for repository in dangling[:REPORTED]:
        yield finding(
            Severity.warning,
            f"looks empty: its HEAD is {repository.refs.dangling_head}, which does not exist",
            repository.name,
            remedy=_set_head(surveyed, repository),
        )
    if unreadable:
        yield finding(
            Severity.unknown,
            f"not measured: {counted(len(unreadable), 'repository')} cannot be read: "
            f"{unreadable[0].reason}",
            "unreadable",
            remedy="run it as Kallithea's user",
        )
    for failed in surveyed.linked[:REPORTED]:
        path = surveyed.quoted_path(failed.name)
        yield finding(
            Severity.unknown,
            f"not measured: {failed.reason}",
            failed.name,
            remedy=f"put a file in its place if the link is yours: ls -l {path}",
        )
    if not (surveyed.broken or dangling or unreadable or surveyed.linked):
        yield finding(Severity.ok, "no repository examined is broken")


@check(
    "REPO008",
    "repositories-dates",
    "Dates ahead of now",
    measures=(survey, tips),
    threshold=f"{AHEAD_DAYS} day",
    source="our judgement: no time zone is further ahead",
    tags=("probe",),
)
def dates(surveyed: Survey, read: Tips) -> Iterator[Finding]:
    """Judge dates of last commits and of the journal that are still to come."""
    yield from judge_dates(surveyed.ahead, read, time.time())


def judge_dates(journal: Ahead, read: Tips, now: float) -> Iterator[Finding]:
    """A wrong clock leaves dates by which lists are ordered forever."""
    days = {item.name: (item.committed - now) / 86400 for item in read.contents}
    ahead = sorted((name for name in days if days[name] > AHEAD_DAYS), key=lambda name: -days[name])
    evidence: dict[str, object] = {
        "repositories": read.examined.count,
        "commits_ahead": len(ahead),
        "journal_ahead": journal.entries,
    }
    if ahead:
        yield Finding(
            Severity.advice,
            f"the last commit is dated {counted(int(days[ahead[0]]), 'day')} ahead: "
            f"{first_of(ahead, 1)}",
            "commits",
            {**evidence, "names": ahead[:NAMED]},
            remedy="see whether this clock is right: date; if so, have the committer correct "
            "theirs, and amend the commit",
        )
    if journal.entries:
        yield Finding(
            Severity.advice,
            f"{counted(journal.entries, 'entry')} of the journal "
            f"{'is' if journal.entries == 1 else 'are'} up to {counted(int(journal.days), 'day')} "
            "ahead",
            "journal",
            evidence,
            remedy="the clock was wrong: have it synchronized (timedatectl set-ntp true)",
        )
    if not ahead and not journal.entries:
        yield Finding(Severity.ok, "no date is in the future", evidence=evidence)


def _repair(surveyed: Survey, failed: FailedRepository) -> Remedy:
    path = surveyed.path(failed.name)
    if failed.blocks:
        # What is neither a file, a directory nor a link holds no data.
        kinds = ("!", "-type", "f", "!", "-type", "d", "!", "-type", "l")
        note = "Kallithea waits forever on it"
        return Command(("find", path, *kinds, "-delete"), note=note, effect=Effect.deletes)
    if failed.reason == NO_HEAD:
        return f"put 'ref: refs/heads/BRANCH', with its main branch, into {shell_word(path)}/HEAD"
    if failed.kind is Kind.git:
        return f"see what is left with {commands.git(path, 'fsck')}; restore the rest from a clone"
    if failed.reason == ABANDONED:
        return commands.hg(path, "recover")
    return f"see what is left with {commands.hg(path, 'verify')}; restore the rest from a clone"


def _set_head(surveyed: Survey, repository: GitRepository) -> Command:
    path = surveyed.path(repository.name)
    return commands.git(path, "symbolic-ref", "HEAD", repository.refs.branch)
