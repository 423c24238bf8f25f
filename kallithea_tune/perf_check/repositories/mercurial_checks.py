"""Formats and caches of Mercurial repositories."""

from __future__ import annotations

import os
import tempfile
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories.survey import Survey
from kallithea_tune.perf_check.repositories.survey_checks import (
    MB,
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
from kallithea_tune.system.scratch import scratch

# In the order of what they cost; Mercurial of all versions that Kallithea runs with makes new
# repositories with these.
WANTED = ("revlogv1", "store", "fncache", "dotencode", "generaldelta", "sparserevlog")
NOT_BY_UPGRADE = frozenset({"revlogv1", "store"})
NODEMAP = "persistent-nodemap"
SLOW_PATH = "revlog.persistent-nodemap.slow-path"
SMALL_MB, LARGE_MANIFEST_MB = 10, 50
MANY_REVISIONS = 100_000
BRANCHES_MS = 50
BRANCH_SECONDS = 0.7


def lacking(facts: Facts) -> list[str]:
    """Return what the format of a repository lacks."""
    return [name for name in WANTED if name not in facts["requires"]]


def judge_format(found: Survey) -> Finding:
    """Old formats store and send more than they need; how much shows in the manifest."""
    old = sorted(
        (facts for facts in examined(found, "hg") if lacking(facts)),
        key=lambda facts: -int(facts["manifest_bytes"]),
    )
    large = [facts for facts in old if facts["bytes"] >= SMALL_MB * MB]
    evidence: dict[str, Any] = {**sample(found, "hg"), "old_format": len(old)}
    common: dict[str, Any] = {
        "threshold": "%d MB" % SMALL_MB,
        "source": "hg debugupgraderepo; limits: our judgement",
    }
    if not large:
        said = (
            "the repositories of an old format are small"
            if old
            else "no Mercurial repository has an old format"
        )
        return Finding(Severity.ok, said, evidence=evidence, **common)
    worst = large[0]
    missing = lacking(worst)
    evidence = {
        "lacks": missing,
        "manifest_mb": worst["manifest_bytes"] / MB,
        "revisions": worst["revisions"],
        **evidence,
        "names": [facts["name"] for facts in large[:20]],
    }
    path = path_of(found, worst["name"])
    upgrade = f"hg -R {path} debugupgraderepo --run -o re-delta-parent"
    clone = f"hg clone --pull -U {path} {path}.new, and put it in place"
    heavy = "generaldelta" in missing and worst["manifest_bytes"] >= LARGE_MANIFEST_MB * MB
    return Finding(
        Severity.warning if heavy else Severity.advice,
        "an old format makes clones slow: {}".format(named([facts["name"] for facts in large], 1)),
        evidence=evidence,
        remedy=clone if NOT_BY_UPGRADE.intersection(missing) else upgrade,
        **common,
    )


@check(
    "HG001",
    "hg-format",
    "Formats of Mercurial repositories",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe", "hg"),
    shares=SHARED,
)
def formats(context: Context) -> Iterator[Finding]:
    """Read the requirements of each Mercurial repository that the survey examines (.hg/requires,
    store/requires).

    Without generaldelta, the manifest of two branches that are committed to in turn takes hundreds
    of times the room, and clones take several times as long; pages gain nothing. Repositories of 10
    MB and more that lack what each new one has are advice, a warning when their manifest takes 50
    MB (our judgement). hg itself is not run.
    """
    if survey(context)["kinds"]["hg"]:
        yield judge_format(survey(context))


def judge_nodemap(found: Survey) -> Finding:
    """A persistent nodemap helps Mercurial's Rust code only; without that, Mercurial refuses the
    repository.
    """
    mine = examined(found, "hg")
    having = [facts for facts in mine if NODEMAP in facts["requires"]]
    evidence = {**sample(found, "hg"), "with_nodemap": len(having), "rust": found["rust"]}
    common: dict[str, Any] = {
        "evidence": evidence,
        "threshold": "%d revisions and Rust" % MANY_REVISIONS,
        "source": "hg help config.format.use-persistent-nodemap; size: our judgement",
    }
    if not found["rust"] and having:
        ways = {
            facts["name"]: facts["slow_path"] or found["storage"].get(SLOW_PATH, "")
            for facts in having
        }
        refused = [name for name, way in ways.items() if way not in ("allow", "warn")]
        first = (refused or list(ways))[0]
        # Removing the nodemap is all that is to be done, but Mercurial 5.8 fails at that alone.
        remedy = "hg -R %s debugupgraderepo --run -o re-delta-parent --config storage.%s=allow"
        return Finding(
            Severity.error if refused else Severity.advice,
            "{}: {}".format(
                "Mercurial refuses a persistent nodemap without Rust"
                if refused
                else "a persistent nodemap is slow without Rust",
                named(refused or list(ways), 1),
            ),
            remedy=remedy % (path_of(found, first), SLOW_PATH),
            **common,
        )
    large = [
        facts
        for facts in mine
        if facts not in having and (facts["revisions"] or 0) >= MANY_REVISIONS
    ]
    if found["rust"] and large:
        return Finding(
            Severity.advice,
            "{} would be opened faster with a persistent nodemap".format(
                named([facts["name"] for facts in large], 1)
            ),
            remedy="hg -R {} debugupgraderepo --run --config format.use-persistent-nodemap=yes".format(
                path_of(found, large[0]["name"])
            ),
            confidence="medium",
            **common,
        )
    said = (
        "no repository is so large that it needs one"
        if found["rust"]
        else "none, and without Rust none is wanted"
    )
    return Finding(Severity.ok, f"persistent nodemap: {said}", **common)


@check(
    "HG002",
    "hg-nodemap",
    "Persistent nodemap of Mercurial repositories",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe", "hg"),
    shares=SHARED,
)
def nodemap(context: Context) -> Iterator[Finding]:
    """Compare the repositories' requirement persistent-nodemap with what the Mercurial of this
    Python can do with it.

    Without its Rust extensions (mercurial.rustext, which Mercurial from PyPI has not) it refuses
    such a repository, unless storage.revlog.persistent-nodemap.slow-path allows it: an error. It is
    advised only with Rust, and for 100,000 revisions and more (our judgement).
    """
    if survey(context)["kinds"]["hg"]:
        yield judge_nodemap(survey(context))


def behind(facts: Facts) -> int:
    """Return how many revisions no branch cache knows, in a repository where it cannot be
    renewed.
    """
    if facts["cache_writable"] or facts["revisions"] is None:
        return 0
    return int(facts["revisions"]) - 1 - int(facts["cached_revision"])


def judge_branch_cache(found: Survey, times: Mapping[str, Sequence[float]]) -> Finding:
    """A branch cache that cannot be written is computed anew for each page that lists branches."""
    stale = [facts for facts in examined(found, "hg") if behind(facts) > 0]
    evidence: dict[str, Any] = {**sample(found, "hg"), "stale": len(stale)}
    common: dict[str, Any] = {
        "threshold": "%d ms" % BRANCHES_MS,
        "source": "our judgement; measured here",
    }
    slow = {
        name: min(taken) for name, taken in times.items() if taken and min(taken) >= BRANCHES_MS
    }
    if not slow:
        return Finding(
            Severity.ok,
            "branch caches are up to date, or cheap to do without",
            evidence=evidence,
            **common,
        )
    worst = max(slow, key=lambda name: slow[name])
    facts = next(facts for facts in stale if facts["name"] == worst)
    evidence = {"branches_ms": slow[worst], "revisions_behind": behind(facts), **evidence}
    control = path_of(found, os.path.join(worst, ".hg"))
    return Finding(
        Severity.warning,
        f"the branch cache of {worst} is stale and cannot be written",
        evidence=evidence,
        remedy=f"cd {control}; mkdir -p cache; chown -R --reference=store cache; chmod -R u+w cache",
        impact_ms=slow[worst],
        impact_per="changelog page",
        **common,
    )


@check(
    "HG003",
    "hg-branch-cache",
    "Branch caches of Mercurial repositories",
    "repositories",
    seconds=SECONDS + BRANCH_SECONDS,
    needs=("database",),
    tags=("probe", "hg"),
    shares=SHARED,
    writes="the system's temporary directory",
)
def branch_cache(context: Context) -> Iterator[Finding]:
    """Find branch caches (.hg/cache/branch2*) that are older than the repository and cannot be
    written.

    Kallithea's next page renews a stale cache by itself, if it can: a cache directory that belongs
    to another user, as after hg was run by root, is computed anew for each page that lists
    branches. Mercurial lists them for the one that is furthest behind, in a process that cannot
    write there, up to three times. 50 ms are a warning (our judgement).
    """
    found = survey(context)
    stale = sorted(
        (facts for facts in examined(found, "hg") if behind(facts) > 0),
        key=lambda facts: -behind(facts),
    )
    times: dict[str, Sequence[float]] = {}
    for facts in stale[:1]:
        seconds = max(0.1, min(BRANCH_SECONDS, context.deadline.left))
        with scratch(tempfile.gettempdir()) as directory:
            times[facts["name"]] = child.call(
                "kallithea_tune.perf_check.repositories.mercurial:branch_times",
                seconds + 8,
                directory=directory,
                path=os.path.join(found["root"], facts["name"]),
                within=seconds,
            )
    if found["kinds"]["hg"]:
        yield judge_branch_cache(found, times)
