"""Finds the repositories below a directory, as Kallithea does, and those that were deleted."""

from __future__ import annotations

import datetime
import enum
import os
import re
import time
from dataclasses import dataclass, field
from typing import Optional, Sequence

from kallithea_tune.system.files import below

# Kallithea renames a deleted repository so, and keeps it (kallithea/lib/utils.py,
# REMOVED_REPO_PAT).
_REMOVED = re.compile(r"rm__\d{8}_\d{6}_\d{6}_.*")
# Somebody may still want them back before that.
KEPT_DAYS = 30


class Kind(enum.Enum):
    """The content of a directory; a work tree is a Git repository that is not bare, which Kallithea
    ignores.
    """

    git = "git"
    hg = "hg"
    work_tree = "work tree"


@dataclass
class Walk:
    """The result of a walk through the root: repositories by name, and directories that Kallithea
    does not show.
    """

    kinds: dict[str, Kind] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    work_trees: list[str] = field(default_factory=list)
    complete: bool = True


def discover(root: str, end: float) -> Walk:
    """Find repositories as Kallithea's own scan does (kallithea/lib/utils.py,
    get_filesystem_repos).

    A symbolic link to a repository counts as one, but no link is followed into a group: there are
    no loops.
    """
    walk = Walk()
    waiting = [""]
    while waiting:
        if time.monotonic() > end:
            walk.complete = False
            break
        group = waiting.pop()
        try:
            with os.scandir(os.path.join(root, group)) as entries:
                for entry in entries:
                    _sort(entry, os.path.join(group, entry.name), walk, waiting)
                    if time.monotonic() > end:
                        break
        except (PermissionError, FileNotFoundError):
            continue
    return walk


def _sort(entry: os.DirEntry[str], name: str, walk: Walk, waiting: list[str]) -> None:
    try:
        if not entry.is_dir():
            return
    except OSError:  # A symbolic link that leads to itself.
        return
    if _REMOVED.match(entry.name):
        walk.removed.append(entry.path)
    elif not entry.name.startswith("."):
        kind = kind_of(entry.path)
        if kind is Kind.work_tree:
            walk.work_trees.append(name)
        elif kind:
            walk.kinds[name] = kind
        elif not entry.is_symlink():
            waiting.append(name)


def kind_of(path: str) -> Optional[Kind]:
    """Return the kind of the repository in the directory `path`, None where there is none."""
    if os.path.isdir(os.path.join(path, ".git")):
        return Kind.work_tree
    if os.path.isdir(os.path.join(path, ".hg")):
        return Kind.hg
    if os.path.isdir(os.path.join(path, "objects")) and (
        os.path.isdir(os.path.join(path, "refs"))
        or os.path.isfile(os.path.join(path, "packed-refs"))
    ):
        return Kind.git
    return None


@dataclass(frozen=True)
class Removed:
    """Repositories that were deleted in the web interface `KEPT_DAYS` ago and are still on disk."""

    count: int = 0
    bytes: int = 0


def removed(paths: Sequence[str], end: float) -> Removed:
    """Sum up which of the deleted repositories `paths` were deleted long ago, until `end` of the
    monotonic clock.
    """
    until = datetime.datetime.now() - datetime.timedelta(days=KEPT_DAYS)
    latest = until.strftime("%Y%m%d_%H%M%S")
    old = [path for path in paths if os.path.basename(path)[len("rm__") :] < latest]
    return Removed(len(old), sum(item.status.st_size for path in old for item in below(path, end)))
