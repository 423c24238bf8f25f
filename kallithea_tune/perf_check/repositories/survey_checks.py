"""Which repositories there are, how large, and whether database and disk agree on them."""

from __future__ import annotations

import os
import shlex
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories import survey as probe
from kallithea_tune.perf_check.repositories.survey import Survey
from kallithea_tune.text import megabytes

JUDGEMENT = "our judgement"
MB = 1e6
SECONDS = 2.0
SHARED = "repositories"
REMOVED_MB, REMOVED_SHARE = 100, 0.1
NAMED = 5
Facts = Mapping[str, Any]


def survey(context: Context) -> Survey:
    """Return what is to be known of the repositories, read once for all checks of the area."""
    found: Survey = context.once(
        "repositories",
        lambda: probe.survey(context.instance, max(0.3, min(SECONDS, context.deadline.left - 0.3))),
    )
    return found


def examined(found: Survey, kind: str) -> list[Facts]:
    """Return the repositories of `kind` that were examined and found whole."""
    return [facts for facts in found["examined"] if facts["kind"] == kind and "bytes" in facts]


def sample(found: Survey, kind: str = "") -> dict[str, Any]:
    """Say how many repositories were examined, for the evidence: ``12 of 10000, largest first``."""
    total = found["kinds"][kind] if kind else sum(found["kinds"].values())
    seen = (
        sum(facts["kind"] == kind for facts in found["examined"])
        if kind
        else len(found["examined"])
    )
    if seen == total:
        return {"repositories": total}
    return {
        "repositories": "%d of %d%s" % (seen, total, ", largest first" if found["ordered"] else "")
    }


def path_of(found: Survey, name: str) -> str:
    """Return the path of a repository as the shell takes it."""
    return shlex.quote(os.path.join(found["root"], name))


def named(names: Sequence[str], limit: int = 2) -> str:
    """Name the first of many: ``a, b and 3 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (" and %d more" % more if more > 0 else "")


def judge_sizes(found: Survey, ini: str) -> Finding:
    """Deleted repositories stay on disk under another name until somebody purges them."""
    whole = [facts for facts in found["examined"] if "bytes" in facts]
    total = sum(facts["bytes"] for facts in whole)
    largest = sorted(whole, key=lambda facts: -int(facts["bytes"]))[:3]
    removed = found["removed"]
    evidence = {
        **sample(found),
        "total_mb": total / MB,
        "largest_mb": {facts["name"]: float(facts["bytes"]) / MB for facts in largest},
        "deleted": removed["count"],
        "deleted_mb": removed["bytes"] / MB,
    }
    common: dict[str, Any] = {
        "evidence": evidence,
        "source": JUDGEMENT,
        "threshold": "deleted ones %d MB and %d %%" % (REMOVED_MB, REMOVED_SHARE * 100),
    }
    if removed["bytes"] >= max(REMOVED_MB * MB, total * REMOVED_SHARE):
        return Finding(
            Severity.advice,
            "%d deleted repositories still take %s"
            % (removed["count"], megabytes(removed["bytes"])),
            remedy=f"kallithea-cli repo-purge-deleted -c {ini} --older-than=30d",
            **common,
        )
    said = ", the largest is {}".format(largest[0]["name"]) if largest else ""
    return Finding(
        Severity.ok, f"the repositories examined take {megabytes(total)}{said}", **common
    )


@check(
    "REPO001",
    "repositories-size",
    "Sizes of the repositories",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe",),
    shares=SHARED,
)
def sizes(context: Context) -> Iterator[Finding]:
    """Find the repositories as Kallithea's own scan does and add up their files, the largest first,
    for 2 s at most.

    Names the three largest and the total. How many of how many were examined is said. Repositories
    deleted in the web interface stay on disk as ``rm__DATE_NAME``: from 100 MB and a tenth of the
    rest on it is advice to purge those older than 30 days (our judgement). Files are read only; no
    command is run, no lock taken, no cache renewed.
    """
    yield judge_sizes(survey(context), shlex.quote(context.instance.path))


def judge_registered(found: Survey, ini: str) -> Iterator[Finding]:
    """A repository that is in the database only answers with an error; one on disk only is not
    shown.
    """
    missing, unknown, trees = found["missing"], found["unknown"], found["work_trees"]
    common: dict[str, Any] = {
        "threshold": "the same in database and on disk",
        "source": "Kallithea manual, repo-scan",
    }
    evidence = {
        "registered": found["registered"],
        "missing": len(missing),
        "unregistered": len(unknown),
        "not_bare": len(trees),
        **({} if found["walked"] else {"all_found": False}),
    }
    if missing and len(missing) == found["registered"]:
        yield Finding(
            Severity.error,
            "none of the %d repositories is in %s" % (len(missing), found["root"]),
            "missing",
            evidence,
            remedy="is the disk mounted? set the path in Admin > Settings > VCS",
            **common,
        )
    elif missing:
        yield Finding(
            Severity.warning,
            "%d repositories of the database are not on disk: %s" % (len(missing), named(missing)),
            "missing",
            dict(evidence, names=missing[:20]),
            remedy=f"restore them; or forget them: kallithea-cli repo-scan -c {ini} --remove-missing",
            **common,
        )
    if unknown:
        yield Finding(
            Severity.advice,
            "%d repositories on disk are not in the database: %s" % (len(unknown), named(unknown)),
            "unregistered",
            dict(evidence, names=unknown[:20]),
            remedy=f"kallithea-cli repo-scan -c {ini}",
            **common,
        )
    if trees:
        path = path_of(found, trees[0])
        yield Finding(
            Severity.advice,
            "Kallithea ignores %d Git repositories, not bare: %s" % (len(trees), named(trees)),
            "not bare",
            dict(evidence, names=trees[:20]),
            remedy=f"git clone --bare {path} {path}.new, and put it in place",
            **common,
        )
    if not (missing or unknown or trees):
        yield Finding(
            Severity.ok, "database and disk agree on the repositories", "", evidence, **common
        )


@check(
    "REPO002",
    "repositories-registered",
    "Repositories in the database and on disk",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe",),
    shares=SHARED,
)
def registered(context: Context) -> Iterator[Finding]:
    """Compare the repositories that the database has with those found on disk.

    In the database only: a warning, since each of its pages is an error; where all are missing it
    is an error, and the disk is likely not mounted. On disk only: advice to run repo-scan. Git
    repositories with a work tree, which Kallithea's scan ignores, are named, too.
    """
    yield from judge_registered(survey(context), shlex.quote(context.instance.path))


def judge_broken(found: Survey) -> Iterator[Finding]:
    """A broken repository is named with what is wrong; a HEAD that leads nowhere makes Kallithea
    show nothing.
    """
    broken = [facts for facts in found["examined"] if "broken" in facts]
    lost = [facts for facts in found["examined"] if facts.get("lost_head")]
    denied = [facts for facts in found["examined"] if "unreadable" in facts]
    evidence = {
        **sample(found),
        "broken": len(broken),
        "head_lost": len(lost),
        "unreadable": len(denied),
    }
    common: dict[str, Any] = {
        "evidence": evidence,
        "threshold": "0",
        "source": "formats of Git and Mercurial",
    }
    for facts in broken[:NAMED]:
        yield Finding(
            Severity.error, facts["broken"], facts["name"], remedy=_repair(found, facts), **common
        )
    for facts in lost[:NAMED]:
        yield Finding(
            Severity.warning,
            "looks empty: its HEAD is {}, which is not there".format(facts["lost_head"]),
            facts["name"],
            remedy="git -C {} symbolic-ref HEAD {}".format(
                path_of(found, facts["name"]), facts["branch"]
            ),
            **common,
        )
    if denied:
        yield Finding(
            Severity.unknown,
            "not measured: %d repositories cannot be read: %s"
            % (len(denied), denied[0]["unreadable"]),
            "unreadable",
            remedy="run it as Kallithea's user",
            **common,
        )
    if not (broken or lost or denied):
        yield Finding(Severity.ok, "no repository examined is broken", **common)


def _repair(found: Survey, facts: Facts) -> str:
    path = path_of(found, facts["name"])
    if facts["kind"] == "git":
        return f"see what is left: git -C {path} fsck; restore the rest from a clone"
    if "abandoned" in facts["broken"]:
        return f"hg -R {path} recover"
    return f"see what is left: hg -R {path} verify; restore the rest from a clone"


@check(
    "REPO003",
    "repositories-broken",
    "Broken repositories",
    "repositories",
    seconds=SECONDS,
    needs=("database",),
    tags=("probe",),
    shares=SHARED,
)
def broken(context: Context) -> Iterator[Finding]:
    """Look for what makes a repository unusable, from its files alone, in those that the survey
    examines.

    Git: no HEAD, an empty object or ref (as a power cut leaves them), a pack that is cut off or
    missing, alternates that are gone, formats that Kallithea's dulwich cannot read, a HEAD that
    names a branch which is not there. Mercurial: requirements that the installed version does not
    know, an abandoned transaction, a changelog or manifest that is cut off. Contents are not
    verified: git fsck and hg verify do that, and take their time.
    """
    yield from judge_broken(survey(context))
