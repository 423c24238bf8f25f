"""What follows from device, inode and a file that was written: whether storage is the same."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

BY_INODE = "not proven, by device and inode only"


class State(enum.Enum):
    """Whether two paths lead to the same storage."""

    proven = "the same storage"
    by_inode = "the same storage by device and inode only, not proven"
    different = "different storage"
    unknown = "unknown"


@dataclass(frozen=True)
class Spot:
    """Where a path leads: `directory` takes files for it, as the path says it.

    That is the directory itself; of a file, the one that holds it; of what is not there yet, the
    nearest that exists, and the others have the remaining path as `rest`. `device` and `inode` are
    those of the path itself, of what is not there yet those of the directory. `failure` is why
    nothing is known.
    """

    path: str
    directory: str = ""
    rest: str = ""
    exists: bool = True
    device: int = 0
    inode: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Crossing:
    """The spots of one setting, and what came of a file that was written at each.

    `unwritten` has by spot why no file could be made, empty where one was. `unread` has by spot,
    for each spot, why that file could not be read there; empty where it was, and ENOENT where it
    is not there.
    """

    spots: tuple[Spot, ...]
    unwritten: tuple[str, ...] = ()
    unread: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Sameness:
    """A state and why, which may be empty where the state says it all."""

    state: State
    why: str = ""


@dataclass(frozen=True)
class Found:
    """What tells a directory or a database apart from all others, or why that is not known.

    `note` is how it is known that this is another's, where that is not by its name.
    """

    identity: str
    failure: str = ""
    note: str = ""


def identities(crossing: Crossing) -> dict[str, Found]:
    """Return by path what is the same storage: the path of the first that leads to it."""
    found: dict[str, Found] = {}
    firsts: list[int] = []
    for number, spot in enumerate(crossing.spots):
        compared = {first: sameness(crossing, first, number) for first in firsts}
        same = [one for one, how in compared.items() if how.state in (State.proven, State.by_inode)]
        unknown = [how.why for how in compared.values() if how.state is State.unknown]
        if spot.failure or (unknown and not same):
            found[spot.path] = Found("", spot.failure or unknown[0])
        elif same:
            found[spot.path] = Found(crossing.spots[same[0]].path, note=_note(compared[same[0]]))
        else:
            firsts.append(number)
            found[spot.path] = Found(spot.path)
    return found


def _note(how: Sameness) -> str:
    return f"{how.state.value}{', ' if how.why else ''}{how.why}"


def sameness(crossing: Crossing, one: int, other: int) -> Sameness:
    """Judge two spots of a crossing by their numbers.

    A file that was written through one path and is read through the other proves it. Without, the
    same device and inode are the same directory on one machine, and another inode of the device is
    another one; another device may be another mount of the same storage.
    """
    first, second = crossing.spots[one], crossing.spots[other]
    if first.failure or second.failure:
        return Sameness(State.unknown, first.failure or second.failure)
    arrived, why = _token(crossing, one, other)
    equal = _equal(first, second)
    if arrived and first.rest == second.rest:
        return Sameness(State.proven, _nearest(first))
    if equal and arrived is not False:
        return Sameness(State.by_inode, ", ".join(filter(None, (why, _nearest(first)))))
    if arrived:
        return Sameness(State.different)
    if equal:
        return Sameness(
            State.unknown,
            f"{first.path} and {second.path} have the same device and inode, and a file written "
            "through one is not seen through the other",
        )
    if arrived is None and first.device != second.device:
        return Sameness(
            State.unknown,
            f"{first.path} and {second.path} are on different devices, which may be two mounts of "
            f"one storage: {BY_INODE}{': ' if why else ''}{why}",
        )
    return Sameness(State.different)


def _equal(first: Spot, second: Spot) -> bool:
    same = (first.device, first.inode) == (second.device, second.inode)
    return same and first.exists == second.exists and (first.exists or first.rest == second.rest)


def _token(crossing: Crossing, one: int, other: int) -> tuple[Optional[bool], str]:
    """Return whether a file written at either was read at the other; None, and why, if unknown."""
    if not crossing.unwritten:
        return None, ""
    tried = [
        crossing.unread[written][read]
        for written, read in ((one, other), (other, one))
        if not crossing.unwritten[written]
    ]
    if "" in tried:
        return True, ""
    if "ENOENT" in tried:
        return False, ""
    return None, next(iter(tried), "") or crossing.unwritten[one]


def _nearest(spot: Spot) -> str:
    """Say what was compared in place of a directory that is not there yet."""
    if spot.exists:
        return ""
    return f"compared by {spot.directory}, since {spot.rest} does not exist yet"
