"""Counts the heads of a Mercurial repository in the index of its changelog, without Mercurial."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Sequence

from kallithea_tune.app.directories import repositories_root
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.system import child
from kallithea_tune.system.files import Broken, opened, size_of

# mercurial/revlogutils/constants.py, INDEX_ENTRY_V1: offset and flags, lengths, base, link,
# parents, node.
_ENTRY = 64
INDEX = ".hg/store/00changelog.i"
_PARENTS = struct.Struct(">24xii32x")
# 500,000 revisions; a larger index takes more than a second.
LARGEST = 500_000 * _ENTRY
# For counting in all repositories of an instance; a disk or a database that hangs takes longer.
COUNT_SECONDS = 2.0
_NAMES = "SELECT repo_name FROM repositories WHERE repo_type = 'hg' ORDER BY updated_on DESC"


@dataclass(frozen=True)
class Heads:
    """The heads of those Mercurial repositories in which they could be counted, of `total`."""

    by_name: Mapping[str, int]
    total: int

    @property
    def most(self) -> int:
        """The most heads of a repository."""
        return max(self.by_name.values(), default=0)

    @property
    def uncounted(self) -> int:
        """In how many repositories the heads could not be counted."""
        return self.total - len(self.by_name)


def of_instance(instance: Instance) -> Heads:
    """Count the heads of the Mercurial repositories, the latest changed first.

    Raises NotMeasured where the database or the disk does not answer.
    """
    url = instance.database_url
    read_only_engine(url)
    return child.call(here, COUNT_SECONDS + 8, url=url, within=COUNT_SECONDS)


def here(url: str, within: float) -> Heads:
    """Count the heads as `of_instance` does, in this process; for a child."""
    import sqlalchemy

    with read_only_engine(url).connect() as connection:
        names = [str(name) for (name,) in connection.execute(sqlalchemy.text(_NAMES))]
    return Heads(count(repositories_root(url), names, within), len(names))


def count(root: str, names: Sequence[str], within: float) -> Mapping[str, int]:
    """Return the number of heads of the repositories `names` below `root`; for a child process.

    They are read in that order; those for which `within` seconds are too short, or which cannot be
    read, are left out.
    """
    counted, end = {}, time.monotonic() + within
    for name in names:
        if time.monotonic() > end:
            break
        with contextlib.suppress(Broken, OSError):
            number = heads(os.path.join(root, name))
            if number is not None:
                counted[name] = number
    return counted


def heads(repository: str) -> Optional[int]:
    """Return the number of revisions without children; None for an unknown format or a large index.

    Raises Broken where the index ends within an entry.
    """
    size = size_of(repository, INDEX)
    if not size:
        return 0
    if size > LARGEST:
        return None
    with opened(repository, INDEX) as file:
        index = file.read(size)
    flags, version = struct.unpack(">HH", index[:4].ljust(4, b"\0"))
    if version != 1:
        return None
    revisions, parents = 0, {-1}
    for pair in _with_data(index) if flags & 1 else _without_data(index):
        revisions += 1
        parents.update(pair)
    return revisions - len(parents) + 1


def _without_data(index: bytes) -> Iterator[tuple[int, int]]:
    if len(index) % _ENTRY:
        raise Broken("the changelog's index ends within an entry")
    yield from _PARENTS.iter_unpack(index)


def _with_data(index: bytes) -> Iterator[tuple[int, int]]:
    """Yield the parents from an index that has the data of each revision behind its entry."""
    position = 0
    while position < len(index):
        if position + _ENTRY > len(index):
            raise Broken("the changelog's index ends within an entry")
        first, second = _PARENTS.unpack_from(index, position)
        yield first, second
        position += _ENTRY + int(struct.unpack_from(">I", index, position + 8)[0])
