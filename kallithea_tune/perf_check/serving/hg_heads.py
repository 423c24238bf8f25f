"""Counts the heads of a Mercurial repository from its changelog's index, unopened by Mercurial."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from typing import Iterator, Optional, Sequence

from kallithea_tune.system.files import Broken, size_of

# mercurial/revlogutils/constants.py, INDEX_ENTRY_V1: offset and flags, lengths, base, link,
# parents, node.
_ENTRY = 64
_PARENTS = struct.Struct(">24xii32x")
# 500,000 revisions; what is larger takes more than a second.
LARGEST = 500_000 * _ENTRY


def count(root: str, names: Sequence[str], within: float) -> dict[str, int]:
    """Return the number of heads of each repository, in the order of `names`, of as many as
    `within` seconds allow.

    What cannot be read is left out. For a child process.
    """
    found, end = {}, time.monotonic() + within
    for name in names:
        if time.monotonic() > end:
            break
        with contextlib.suppress(Broken, OSError):
            number = heads(os.path.join(root, name))
            if number is not None:
                found[name] = number
    return found


def heads(repository: str) -> Optional[int]:
    """Return the number of revisions without children, None for a format or size that is not read.

    Raises Broken where the index ends within an entry.
    """
    index = os.path.join(repository, ".hg", "store", "00changelog.i")
    taken = size_of(index)
    if not taken:
        return 0
    if taken > LARGEST:
        return None
    with open(index, "rb") as file:
        whole = file.read(taken)
    flags, version = struct.unpack(">HH", whole[:4].ljust(4, b"\0"))
    if version != 1:
        return None
    revisions, parents = 0, {-1}
    for pair in _inline(whole) if flags & 1 else _apart(whole):
        revisions += 1
        parents.update(pair)
    return revisions - len(parents) + 1


def _apart(whole: bytes) -> Iterator[tuple[int, int]]:
    if len(whole) % _ENTRY:
        raise Broken("the changelog's index ends within an entry")
    yield from _PARENTS.iter_unpack(whole)


def _inline(whole: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(whole):
        if position + _ENTRY > len(whole):
            raise Broken("the changelog's index ends within an entry")
        first, second = _PARENTS.unpack_from(whole, position)
        yield first, second
        position += _ENTRY + int(struct.unpack_from(">I", whole, position + 8)[0])
