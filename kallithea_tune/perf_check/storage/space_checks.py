"""How full the file systems are, and what may be deleted where little is left."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, Remedy, Steps
from kallithea_tune.perf_check.storage.directories import FileSystem
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT
from kallithea_tune.perf_check.storage.space import (
    AGES,
    GB,
    LOW,
    LOW_GB,
    LOW_INODES,
    LOW_SHARE,
    VERY_LOW,
    VERY_LOW_GB,
    VERY_LOW_INODES,
    VERY_LOW_SHARE,
    Occupant,
    Old,
    Space,
    few_inodes,
    little_space,
    space,
)
from kallithea_tune.text import megabytes

# For the page.
__all__ = ["VERY_LOW_GB", "VERY_LOW_INODES", "VERY_LOW_SHARE"]

DAY = 1440
LARGER = "get a larger disk, or move something to another one"


def judge_space(system: FileSystem, occupants: Sequence[Occupant] = ()) -> Finding:
    """Judge what is free for users other than root: the worse of space and inodes."""
    point, location = system.mount.point, system.location
    if not location.size:
        return Finding(Severity.ok, f"{point} does not report what is free", subject=point)
    evidence: dict[str, object] = {"size_gb": location.size / GB}
    if location.inodes:
        evidence.update(free_inodes=location.free_inodes, inodes=location.inodes)
    finding = partial(Finding, subject=point, evidence=evidence, source=JUDGEMENT)
    share_free = location.free / location.size
    diagnosis = f"{100 * share_free:.2g} % of {point} is free: {megabytes(location.free)}"
    threshold = f"{100 * LOW_SHARE:g} % free, or {LOW_GB} GB"
    for severity, limit in ((Severity.error, VERY_LOW), (Severity.warning, LOW)):
        if few_inodes(system, limit):
            missing = min(LOW_SHARE * location.inodes, LOW_INODES) - location.free_inodes
            inodes_free = location.free_inodes / location.inodes
            return finding(
                severity,
                f"{100 * inodes_free:.2g} % of the inodes of {point} are free:"
                f" room for {location.free_inodes} files{_most_inodes(occupants)}",
                evidence={**_counted(occupants, inodes=True), **evidence},
                remedy=_freeing(occupants, missing, True, limit is VERY_LOW),
                threshold=f"{100 * LOW_SHARE:g} % free, or {LOW_INODES}",
            )
        if little_space(system, limit):
            missing = min(LOW_SHARE * location.size, LOW_GB * GB) - location.free
            return finding(
                Severity.error if system.full else severity,
                f"{diagnosis}{_most_bytes(occupants)}",
                evidence={**_counted(occupants, inodes=False), **evidence},
                remedy=_freeing(occupants, missing, False, limit is VERY_LOW),
                threshold=threshold,
            )
    return finding(Severity.ok, diagnosis, threshold=threshold)


def _most_inodes(occupants: Sequence[Occupant]) -> str:
    most = max(occupants, key=lambda one: one.entries, default=None)
    if not most or not most.entries:
        return ""
    more = "" if most.complete else "at least "
    return f"; {more}{most.entries} are in {most.heaviest}"


def _most_bytes(occupants: Sequence[Occupant]) -> str:
    most = max(occupants, key=lambda one: one.bytes, default=None)
    if not most or not most.bytes:
        return ""
    more = "" if most.complete else "at least "
    return f"; {more}{megabytes(most.bytes)} are in {most.path} ({most.name})"


def _counted(occupants: Sequence[Occupant], inodes: bool) -> dict[str, object]:
    """Return what the largest occupants take, the largest first."""
    counts = {
        f"{one.name}{'' if inodes else '_mb'}": one.entries if inodes else one.bytes / 1e6
        for one in sorted(occupants, key=lambda one: -(one.entries if inodes else one.bytes))
    }
    return dict(list(counts.items())[:4])


def _freeing(occupants: Sequence[Occupant], missing: float, inodes: bool, urgent: bool) -> Remedy:
    """Return the deletion of what is oldest that frees as much as is `missing`, or half of what
    could be: of sessions in use only where it is `urgent`.
    """
    ages = AGES if urgent else tuple(minutes for minutes in AGES if minutes >= DAY)
    freed = [
        {one: _amount(one.old[number], inodes) for one in occupants if one.old}
        for number in range(len(ages))
    ]
    most = sum(freed[-1].values())
    # Where all of it is not enough, half of it is worth more than the newest files.
    wanted = missing if most >= missing else most / 2
    if not most:
        return LARGER
    number = next(n for n, found in enumerate(freed) if sum(found.values()) >= wanted)
    minutes = ages[number]
    # What gives a hundredth of it is not worth a command.
    chosen = [one for one, amount in freed[number].items() if amount * 100 > wanted]
    notes = [] if most >= missing else [f"not enough, so {LARGER} as well"]
    if minutes < 30 * DAY and any(one.name == "sessions" for one in chosen):
        notes.append(
            "signs out users who were away for longer" if minutes else "signs everybody out"
        )
    steps = tuple(_deletion(one, minutes) for one in chosen)
    return Steps(steps, note="; ".join(notes))


def _amount(old: Old, inodes: bool) -> int:
    return old.files if inodes else old.bytes


def _deletion(one: Occupant, minutes: int) -> Command:
    """Return the command that deletes what `Old` counts."""
    words = ("find", *one.parts)
    if one.name == "archives":
        words += ("-maxdepth", "1", "-name", "*-????????????.*")
    words += ("-type", "f")
    if minutes:
        empty = () if one.name == "archives" else ("-o", "-name", "*.cache", "-empty")
        words += ("(", "-mmin", f"+{minutes}", *empty, ")")
    return Command((*words, "-delete"), effect=Effect.deletes)


@check(
    "STO004",
    "storage-space",
    "Free space and inodes",
    measures=(space,),
    tags=("disk",),
    harm=Harm.access,
)
def free_space(measured: Space) -> Iterator[Finding]:
    """Every file system with a directory has space and inodes left."""
    for system in measured.systems:
        yield judge_space(system, measured.occupants.get(system.mount.point, ()))
