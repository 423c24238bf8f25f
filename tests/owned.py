"""An instance that belongs to another user, and commands that root runs on it.

The Python of the tests may lie where only root may enter, as in root's home. Root's commands then
run with mounts of their own, in which everybody may.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Iterator, Mapping, Optional

from environment import BIN
from mounted import AS_ROOT

ROOT = Path(__file__).resolve().parents[1]
NOBODY, UNKNOWN = 65534, 54321  # the latter has no entry in passwd
GROUP = 54399  # of nobody, in the commands below
# Files that only root may read have it.
SECRET = "3rd-of-root-only"


def closed(path: Path) -> Optional[Path]:
    """The first directory above `path` that others than its owner may not enter."""
    above = reversed(path.resolve().parents)
    return next((place for place in above if not place.stat().st_mode & stat.S_IXOTH), None)


def mounts(group_file: Path) -> Iterator[str]:
    """The commands of a shell after which everybody may enter what the tests run from."""
    places = dict.fromkeys(map(Path, (sys.base_prefix, sys.prefix, str(ROOT))))
    inside = {place: closed(place) for place in places}
    aside = {
        place: group_file.with_name(f"aside{number}")
        for number, place in enumerate(inside)
        if inside[place]
    }
    for place, other in aside.items():
        yield f"mkdir -p {other}; mount --bind {shlex.quote(str(place))} {other}"
    for top in dict.fromkeys(filter(None, inside.values())):
        yield f"mount -t tmpfs -o mode=755 none {shlex.quote(str(top))}"
    for place, other in aside.items():
        quoted = shlex.quote(str(place))
        yield f"mkdir -p {quoted}; mount --bind {other} {quoted}"
    yield f"mount --bind {group_file} /etc/group"


class Owned:
    """A copy of an instance in `directory`, which all may enter."""

    def __init__(self, pristine: Path, place: Path) -> None:
        self.place, self.directory = place, place / "instance"
        shutil.copytree(str(pristine), str(self.directory), symlinks=True)
        self.ini = self.directory / "my.ini"
        with sqlite3.connect(str(self.directory / "kallithea.db")) as connection:
            connection.execute(
                "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'",
                [str(self.directory / "repos")],
            )
        connection.close()
        self.secret = place / "secret"
        self.secret.write_text(SECRET + "\n")
        self.secret.chmod(0o600)
        groups = Path("/etc/group").read_text()
        (place / "group").write_text(f"{groups}tunetest:x:{GROUP}:nobody\n")

    def give_to(self, uid: int, gid: int) -> None:
        """Give everything in the instance to a user."""
        owner = f"{uid}:{gid}"
        subprocess.run([*AS_ROOT, "chown", "-hR", owner, str(self.directory)], check=True)

    def as_root(
        self, *words: object, variables: Optional[Mapping[str, str]] = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as root, where everybody may read this Python."""
        script = " && ".join([*mounts(self.place / "group"), 'exec env "$@"'])
        given = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **(variables or {})}
        return subprocess.run(
            [
                *AS_ROOT,
                *["unshare", "-m", "sh", "-c", script, "sh"],
                *[f"{name}={value}" for name, value in given.items()],
                *map(str, words),
            ],
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=300,
        )

    def gearbox(
        self, *words: object, variables: Optional[Mapping[str, str]] = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run gearbox as root."""
        return self.as_root(BIN / "gearbox", *words, variables=variables)
