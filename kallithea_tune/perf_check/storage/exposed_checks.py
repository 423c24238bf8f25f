"""Whether others on this host may change what Kallithea unpickles or executes, or read secrets."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Remedy, Steps
from kallithea_tune.perf_check.storage.exposed import Exposed, Exposure, Risk, exposure
from kallithea_tune.text import first_of

TRUSTED = "Python's manual, pickle and logging.config: from trusted sources only"
# Everybody must be able to write there.
PUBLIC = frozenset({"/tmp", "/var/tmp", "/dev/shm"})


def judge_places(risk: Risk, places: Sequence[Exposed]) -> Finding:
    """Judge the places of one risk together, since one umask opens many."""
    finding = partial(Finding, subject=risk.name, threshold="no others", source=TRUSTED)
    entries = sum(found.entries for found in places)
    wide = [found for found in places if found.count]
    if not wide:
        return finding(
            Severity.ok,
            f"no other user of this host can {risk.value}",
            evidence={"files_examined": entries},
        )
    names = first_of(list(dict.fromkeys(found.place.name for found in wide)), 3)
    finding = partial(
        finding,
        remedy=_closing(wide),
        evidence={
            "writable": sum(found.count for found in wide),
            "files_examined": entries,
            "in": [found.place.path for found in wide],
        },
    )
    if any(found.reachable for found in wide):
        return finding(Severity.error, f"every user of this host can {risk.value}: {names}")
    return finding(Severity.advice, f"others could {risk.value} if they reached {names}")


def _closing(wide: Sequence[Exposed]) -> Remedy:
    """Return the commands that take the right to write from others."""
    walked = [found.place.path for found in wide if found.place.walked]
    outer = dict.fromkeys(path for found in wide for path in found.outer if path not in walked)
    public = sorted(PUBLIC.intersection(outer))
    if public:
        return f"move {wide[0].place.name} out of {public[0]}, into a directory of its own"
    change = "g-w,o-w" if any(found.group for found in wide) else "o-w"
    steps = []
    if outer:
        steps.append(Command(("chmod", change, *outer)))
    if walked:
        mode = "/g=w,o=w" if "g" in change else "/o=w"
        found = ("find", *walked, "!", "-type", "l", "-perm", mode)
        steps.append(Command((*found, "-exec", "chmod", change, "{}", "+")))
    return Steps(tuple(steps), note=f"if Kallithea runs as {wide[0].owner}")


def judge_readable(measured: Exposure) -> Finding:
    """Judge who may read the passwords in the ini file."""
    finding = partial(
        Finding,
        subject="passwords",
        threshold="only its owner may read them",
        source="our judgement",
        evidence={"options": list(measured.passwords) or "nothing"},
    )
    if not measured.passwords:
        return finding(Severity.ok, "the ini file has no password")
    if not measured.readable:
        return finding(Severity.ok, "no other user of this host can read the passwords")
    return finding(
        Severity.advice,
        f"every user of this host can read {first_of(measured.passwords)} in the ini file",
        remedy=Command(
            ("chmod", "o-rwx", measured.ini), note=f"if Kallithea runs as {measured.owner}"
        ),
    )


@check(
    "STO006",
    "storage-exposed",
    "Files that others may change or read",
    measures=(exposure,),
    tags=("disk", "probe", "security"),
    harm=Harm.loss,
)
def exposed(measured: Exposure) -> Iterator[Finding]:
    """Only its owner may change what Kallithea unpickles, executes or trusts."""
    for risk in Risk:
        places = [found for found in measured.places if found.place.risk is risk]
        if places:
            yield judge_places(risk, places)
    yield judge_readable(measured)
