"""What follows from device, inode and whether a file arrived."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest

from kallithea_tune.perf_check.scaling.sameness import (
    Crossing,
    Spot,
    State,
    identities,
    sameness,
)

A = Spot("/a", "/a", device=1, inode=7)
TWIN = Spot("/b", "/b", device=2, inode=7)  # as a bindfs of it, and as another disk may have
BOUND = Spot("/b", "/b", device=1, inode=7)
OTHER = Spot("/b", "/b", device=1, inode=8)
NEW = Spot("/a/x", "/a", "x", False, 1, 7)
NEW_THERE = Spot("/b/x", "/b", "x", False, 2, 7)
FILE = Spot("/a/k.db", "/a", "k.db", True, 1, 9)
HARD_LINK = Spot("/b/l.db", "/b", "l.db", True, 1, 9)


def crossing(first: Spot, second: Spot, arrived: Optional[str]) -> Crossing:
    """`arrived` is the error of reading, empty where it was read; None without writing."""
    if arrived is None:
        return Crossing((first, second))
    return Crossing((first, second), ("", ""), (("", arrived), (arrived, "")))


@pytest.mark.parametrize(
    "first, second, arrived, state",
    [
        (A, TWIN, "", State.proven),
        (A, BOUND, "", State.proven),
        (A, OTHER, "", State.proven),
        (A, TWIN, "ENOENT", State.different),
        (A, OTHER, "ENOENT", State.different),
        (A, BOUND, "ENOENT", State.unknown),
        (A, TWIN, "EACCES", State.unknown),
        (A, BOUND, "EACCES", State.by_inode),
        (A, BOUND, None, State.by_inode),
        (A, OTHER, None, State.different),
        (A, TWIN, None, State.unknown),
        (NEW, NEW_THERE, "", State.proven),
        (NEW, replace(NEW_THERE, rest="y"), "", State.different),
        (NEW, replace(NEW_THERE, device=1, rest="y"), None, State.different),
        (A, NEW, "", State.different),
        (FILE, HARD_LINK, "ENOENT", State.unknown),
        (FILE, HARD_LINK, "", State.by_inode),
        (FILE, replace(HARD_LINK, inode=10), "", State.different),
        (A, replace(TWIN, failure="it hangs"), "", State.unknown),
    ],
)
def test_a_file_that_arrives_proves_it_and_no_number_does(
    first: Spot, second: Spot, arrived: Optional[str], state: State
) -> None:
    assert sameness(crossing(first, second, arrived), 0, 1).state is state


def test_one_way_is_enough_where_only_one_place_takes_files() -> None:
    one_way = Crossing((A, TWIN), ("", "read-only"), (("", ""), ("ENOENT", "ENOENT")))
    assert sameness(one_way, 0, 1).state is State.proven


def test_what_is_the_same_has_the_identity_of_the_first_and_says_how() -> None:
    found = identities(crossing(NEW, NEW_THERE, ""))
    assert found["/b/x"].identity == "/a/x"
    assert found["/b/x"].note == "the same storage, compared by /a, since x does not exist yet"
    assert "not proven" in identities(crossing(A, BOUND, None))["/b"].note


def test_what_may_be_another_mount_is_not_known_without_writing() -> None:
    found = identities(crossing(A, TWIN, None))["/b"]
    assert not found.identity and "not proven, by device and inode only" in found.failure
