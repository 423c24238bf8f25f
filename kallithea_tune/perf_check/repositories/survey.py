"""Surveys all repositories by reading their files: nothing is written or locked, no command run,
the time bounded.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.server import explained
from kallithea_tune.perf_check.repositories import git, mercurial
from kallithea_tune.perf_check.repositories.root import root_in_database
from kallithea_tune.system import child
from kallithea_tune.system.files import Broken, below, size

# Kallithea renames a deleted repository so, and keeps it (kallithea/lib/utils.py,
# REMOVED_REPO_PAT).
_REMOVED = re.compile(r"rm__\d{8}_\d{6}_\d{6}_.*")

Survey = Mapping[str, Any]


@dataclass
class Found:
    """What a walk through the root came upon: repositories by name, and what Kallithea does not
    show.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    work_trees: list[str] = field(default_factory=list)
    complete: bool = True


def survey(instance: Instance, seconds: float) -> Survey:
    """Return what `survey_here` says of the repositories of `instance` within about `seconds`.

    Raises NotMeasured when the database does not say where they are, or a file system hangs.
    """
    read_only_engine(instance.database_url)
    result: Survey = child.call(
        "kallithea_tune.perf_check.repositories.survey:survey_here",
        seconds + 8,
        url=instance.database_url,
        within=seconds,
    )
    return result


def survey_here(url: str, within: float) -> dict[str, Any]:
    """Do the work of `survey` in this process; a third of the time at most goes into finding the
    repositories.
    """
    started = time.monotonic()
    known = registered(url)
    root = known["root"]
    if not os.path.isdir(root):
        raise NotMeasured(f"the repositories' directory {root} does not exist")
    found = discover(root, started + within / 3)
    end = started + within
    places = {
        **found.kinds,
        **{
            name: kind
            for name, kind in known["repositories"].items()
            if name not in found.kinds and os.path.lexists(os.path.join(root, name))
        },
    }
    hints, ordered = _largest_first(root, places, started + within / 2)
    requirements = mercurial.supported() if "hg" in places.values() else None
    examined: list[dict[str, Any]] = []
    for name in hints:
        if time.monotonic() > end:
            break
        facts = _examined(os.path.join(root, name), places[name], end, requirements)
        examined.append({"name": name, "kind": places[name], **facts})
    removed = _removed(found.removed, end + 0.2)
    return {
        "root": root,
        "hooks": known["hooks"],
        "storage": known["storage"],
        "registered": len(known["repositories"]),
        "walked": found.complete,
        "kinds": {kind: list(places.values()).count(kind) for kind in ("hg", "git")},
        "examined": examined,
        "ordered": ordered,
        "rust": "hg" in places.values() and mercurial.rust(),
        "missing": sorted(set(known["repositories"]) - set(places)),
        "unknown": sorted(set(found.kinds) - set(known["repositories"])),
        "work_trees": sorted(found.work_trees),
        "removed": removed,
    }


def registered(url: str) -> dict[str, Any]:
    """Ask the database for the root, the repositories with their types, and Mercurial's hooks and
    storage settings.
    """
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    root = root_in_database(url)
    try:
        with read_only_engine(url).connect() as connection:
            settings = connection.execute(
                sqlalchemy.text(
                    "SELECT ui_section, ui_key, ui_value, ui_active FROM ui WHERE ui_section IN ('hooks', 'storage')"
                )
            ).fetchall()
            repositories = connection.execute(
                sqlalchemy.text(
                    "SELECT repo_name, repo_type FROM repositories WHERE repo_state = 'repo_state_created'"
                )
            ).fetchall()
    except SQLAlchemyError as error:
        raise NotMeasured(
            f"which repositories there are is not known: {explained(error, url)}"
        ) from None
    return {
        "root": root,
        "repositories": {name: kind for name, kind in repositories},
        **{
            wanted: {
                key: value or ""
                for section, key, value, active in settings
                if section == wanted and active
            }
            for wanted in ("hooks", "storage")
        },
    }


def discover(root: str, end: float) -> Found:
    """Find repositories as Kallithea's own scan does (kallithea/lib/utils.py,
    get_filesystem_repos).

    A symbolic link is a repository where it leads to one, and never followed into a group: there
    are no loops.
    """
    found = Found()
    waiting = [""]
    while waiting:
        if time.monotonic() > end:
            found.complete = False
            break
        group = waiting.pop()
        try:
            with os.scandir(os.path.join(root, group)) as entries:
                for entry in entries:
                    _sort(entry, os.path.join(group, entry.name), found, waiting)
                    if time.monotonic() > end:
                        break
        except (PermissionError, FileNotFoundError):
            continue
    return found


def _sort(entry: os.DirEntry[str], name: str, found: Found, waiting: list[str]) -> None:
    try:
        if not entry.is_dir():
            return
    except OSError:  # A symbolic link that leads to itself.
        return
    if _REMOVED.match(entry.name):
        found.removed.append(entry.path)
    elif not entry.name.startswith("."):
        kind = kind_of(entry.path)
        if kind == "work tree":
            found.work_trees.append(name)
        elif kind:
            found.kinds[name] = kind
        elif not entry.is_symlink():
            waiting.append(name)


def kind_of(path: str) -> str:
    """Return ``hg``, ``git``, ``work tree`` for a Git repository that is not bare, or nothing."""
    if os.path.isdir(os.path.join(path, ".git")):
        return "work tree"
    if os.path.isdir(os.path.join(path, ".hg")):
        return "hg"
    if os.path.isdir(os.path.join(path, "objects")) and (
        os.path.isdir(os.path.join(path, "refs"))
        or os.path.isfile(os.path.join(path, "packed-refs"))
    ):
        return "git"
    return ""


def _largest_first(root: str, places: Mapping[str, str], end: float) -> tuple[list[str], bool]:
    """Return the names by a hint at their size, and whether there was time for all hints."""
    hints = {}
    for name, kind in places.items():
        if time.monotonic() > end:
            break
        try:
            hints[name] = (git if kind == "git" else mercurial).size_hint(os.path.join(root, name))
        except OSError:
            hints[name] = 0
    return sorted(places, key=lambda name: (-hints.get(name, -1), name)), len(hints) == len(places)


def _examined(
    path: str, kind: str, end: float, requirements: Optional[list[str]]
) -> dict[str, Any]:
    """Examine one repository; what is wrong with it is its own affair, and the others go on."""
    try:
        if kind_of(path) != kind:
            raise Broken(f"there is no {kind} repository in its directory")
        return (
            git.examine(path, end) if kind == "git" else mercurial.examine(path, end, requirements)
        )
    except Broken as error:
        return {"broken": str(error)}
    except PermissionError as error:
        return {"unreadable": f"{error.filename}: {error.strerror}"}
    except OSError as error:
        return {"broken": f"{error.filename}: {error.strerror}"}


def _removed(paths: list[str], end: float) -> dict[str, Any]:
    taken = sum(size(entry) for path in paths for entry in below(path, end))
    return {"count": len(paths), "bytes": taken, "complete": time.monotonic() < end}
