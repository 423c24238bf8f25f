"""Formats and caches of Mercurial repositories."""

from __future__ import annotations

import functools
import os
from typing import Callable, Iterator, Sequence

from kallithea_tune.perf_check import commands
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.remedy import Command, Remedy
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.mercurial import HgRepository
from kallithea_tune.perf_check.repositories.mercurial_branches import BranchListing, branch_listing
from kallithea_tune.perf_check.repositories.survey import Survey, hg_survey
from kallithea_tune.system.busyness import Part
from kallithea_tune.system.programs import beside
from kallithea_tune.text import first_of, shell_word

# In the order of their cost; Mercurial of all versions that Kallithea runs with makes new
# repositories with these.
MODERN = ("revlogv1", "store", "fncache", "dotencode", "generaldelta", "sparserevlog")
NOT_BY_UPGRADE = frozenset({"revlogv1", "store"})
NODEMAP = "persistent-nodemap"
SLOW_PATH = "revlog.persistent-nodemap.slow-path"
# Values of that setting with which Mercurial opens a repository with a nodemap without Rust.
ALLOWING = ("allow", "warn")
_NODEMAP_ON = ("--config", "format.use-persistent-nodemap=yes")
# Removing the nodemap alone would be enough, but Mercurial 5.8 fails at that.
_NODEMAP_OFF = ("-o", "re-delta-parent", "--config", f"storage.{SLOW_PATH}=allow")
SMALL_MB, LARGE_MANIFEST_MB = 10, 50
MB = 1e6
MANY_REVISIONS = 100_000
BRANCHES_MS = 50
# How many repositories the evidence lists, and a remedy covers, at most.
NAMED, COVERED = 20, 20


def lacking(repository: HgRepository) -> list[str]:
    """Return the modern requirements that a repository lacks."""
    return [name for name in MODERN if name not in repository.requires]


@check(
    "HG001",
    "hg-format",
    "Formats of Mercurial repositories",
    measures=(hg_survey,),
    threshold=f"{SMALL_MB} MB",
    source="hg debugupgraderepo; limits: our judgement",
    tags=("probe", "hg"),
)
def formats(surveyed: Survey) -> Iterator[Finding]:
    """Judge old formats, which store and send more than they need, by the sizes of repository and
    manifest.
    """
    if surveyed.hg_total:
        yield judge_format(surveyed)


def judge_format(surveyed: Survey) -> Finding:
    """Old formats store and send more than they need; how much shows in the manifest."""
    old = sorted(
        (repository for repository in surveyed.hg if lacking(repository)),
        key=lambda repository: -repository.manifest_bytes,
    )
    large = [repository for repository in old if repository.bytes >= SMALL_MB * MB]
    evidence = {**surveyed.sample(Kind.hg), "old_format": len(old)}
    if not large:
        small = "the repositories of an old format are small"
        none = "no Mercurial repository has an old format"
        return Finding(Severity.ok, small if old else none, evidence=evidence)
    worst = large[0]
    missing = lacking(worst)
    names = [repository.name for repository in large]
    heavy = "generaldelta" in missing and worst.manifest_bytes >= LARGE_MANIFEST_MB * MB
    return Finding(
        Severity.warning if heavy else Severity.advice,
        f"an old format makes clones slow: {first_of(names, 1)}",
        evidence={
            "lacks": missing,
            "manifest_mb": worst.manifest_bytes / MB,
            "revisions": worst.revisions,
            **evidence,
            "names": names[:NAMED],
        },
        remedy=_renewal(large[:COVERED], surveyed),
    )


def _renewal(old: Sequence[HgRepository], surveyed: Survey) -> Remedy:
    """Upgrade all that can be upgraded; one that cannot has to be put in place by hand."""
    paths = [
        surveyed.path(repository.name)
        for repository in old
        if not NOT_BY_UPGRADE.intersection(lacking(repository))
    ]
    if paths:
        return commands.all_of(
            [
                commands.hg(path, "debugupgraderepo", "--run", "-o", "re-delta-parent")
                for path in paths
            ]
        )
    path, new = (surveyed.quoted_path(old[0].name + end) for end in ("", ".new"))
    hg = shell_word(beside("hg"))
    return f"{hg} clone --pull -U {path} {new}; then replace the other with it"


@check(
    "HG002",
    "hg-nodemap",
    "Persistent nodemap of Mercurial repositories",
    measures=(hg_survey,),
    threshold=f"{MANY_REVISIONS} revisions and Rust",
    source="hg help config.format.use-persistent-nodemap; size: our judgement",
    tags=("probe", "hg"),
)
def nodemap(surveyed: Survey) -> Iterator[Finding]:
    """Judge the requirement persistent-nodemap by the abilities of the Mercurial of this Python."""
    if surveyed.hg_total:
        yield judge_nodemap(surveyed)


def judge_nodemap(surveyed: Survey) -> Finding:
    """A persistent nodemap helps only Mercurial's Rust code; without that, Mercurial refuses the
    repository.
    """
    having = [repository for repository in surveyed.hg if NODEMAP in repository.requires]
    large = [
        repository.name
        for repository in surveyed.hg
        if NODEMAP not in repository.requires and (repository.revisions or 0) >= MANY_REVISIONS
    ]
    finding = functools.partial(
        Finding,
        evidence={
            **surveyed.sample(Kind.hg),
            "with_nodemap": len(having),
            "rust": surveyed.rust,
        },
    )
    if not surveyed.rust and having:
        return _judge_without_rust(surveyed, having, finding)
    if surveyed.rust and large:
        return finding(
            Severity.advice,
            f"{first_of(large, 1)} would be opened faster with a persistent nodemap",
            remedy=commands.all_of(
                [
                    commands.hg(surveyed.path(name), "debugupgraderepo", "--run", *_NODEMAP_ON)
                    for name in large[:COVERED]
                ]
            ),
            confidence="medium",
        )
    if surveyed.rust:
        return finding(Severity.ok, "persistent nodemap: no repository is large enough to need one")
    return finding(
        Severity.ok, "persistent nodemap: there is none, and without Rust none is needed"
    )


def _judge_without_rust(
    surveyed: Survey, having: Sequence[HgRepository], finding: Callable[..., Finding]
) -> Finding:
    refused = [item.name for item in having if _slow_path(surveyed, item) not in ALLOWING]
    names = refused or [item.name for item in having]
    effect = "Mercurial refuses a persistent nodemap without Rust"
    if not refused:
        effect = "a persistent nodemap is slow without Rust"
    return finding(
        Severity.error if refused else Severity.advice,
        f"{effect}: {first_of(names, 1)}",
        remedy=commands.all_of(
            [
                commands.hg(surveyed.path(name), "debugupgraderepo", "--run", *_NODEMAP_OFF)
                for name in names[:COVERED]
            ]
        ),
    )


def _slow_path(surveyed: Survey, repository: HgRepository) -> str:
    return repository.slow_path or surveyed.storage.get(SLOW_PATH, "")


@check(
    "HG003",
    "hg-branch-cache",
    "Branch caches of Mercurial repositories",
    measures=(hg_survey, branch_listing),
    threshold=f"{BRANCHES_MS} ms",
    source="our judgement; measured here",
    tags=("probe", "hg"),
    disturbed_by=(Part.cpu, Part.disk),
)
def branch_cache(surveyed: Survey, listing: BranchListing) -> Iterator[Finding]:
    """Judge a branch cache that is stale and cannot be written by the time that each listing of the
    branches then takes.
    """
    if surveyed.hg_total:
        yield judge_branch_cache(surveyed, listing)


def judge_branch_cache(surveyed: Survey, listing: BranchListing) -> Finding:
    """A branch cache that cannot be written is computed anew for each page that lists branches."""
    evidence: dict[str, object] = {**surveyed.sample(Kind.hg), "stale": listing.stale}
    ms = min(listing.ms, default=0.0)
    if ms < BRANCHES_MS:
        return Finding(
            Severity.ok, "branch caches are up to date, or cheap to do without", evidence=evidence
        )
    more = f" and {listing.stale - 1} more" if listing.stale > 1 else ""
    return Finding(
        Severity.warning,
        f"the branch cache of {listing.repository}{more} is stale and cannot be written",
        evidence={"branches_ms": ms, "revisions_behind": listing.uncached, **evidence},
        remedy=_writable([listing.repository, *_stale(surveyed)], surveyed),
        impact_ms=ms,
        excess=ms / BRANCHES_MS,
        impact_per="changelog page",
    )


def _stale(surveyed: Survey) -> Sequence[str]:
    return [repository.name for repository in surveyed.hg if repository.uncached > 0]


def _writable(names: Sequence[str], surveyed: Survey) -> Remedy:
    """Give the caches to who owns the store: only root can."""
    steps = []
    for name in list(dict.fromkeys(names))[:COVERED]:
        control = os.path.join(surveyed.path(name), ".hg")
        cache, store = (os.path.join(control, part) for part in ("cache", "store"))
        for words in (
            ("mkdir", "-p", cache),
            ("chown", "-R", f"--reference={store}", cache),
            ("chmod", "-R", "u+w", cache),
        ):
            steps.append(Command(words, user="root"))
    return commands.all_of(steps)
