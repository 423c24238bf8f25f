"""What takes long to make and is the same every time, kept in the checkout between runs and copied
out for each use.

What is made lies under a name with a hash of all that makes it: files, and versions of programs. It
is made beside that name and renamed when it is complete, so what was killed in the middle is never
taken for whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Callable, Iterator

DIRECTORY = Path(__file__).resolve().parents[1] / ".test-cache"


def copied(
    name: str,
    made_by: "list[Path]",
    versions: "list[str]",
    make: Callable[[Path], None],
    place: Path,
    kept_in: Path = DIRECTORY,
) -> Path:
    """Copy to `place` what `make` makes at the path that it is given; have it made where it is not
    kept.

    `made_by` are the files of its sources, `versions` what else decides about it. Only the newest
    of a name is kept.
    """
    name += "-%d.%d" % sys.version_info[:2]
    with _locked(kept_in, name):
        kept = kept_in / (f"{name}-{key(made_by, versions)}")
        if not kept.is_dir():
            for old in kept_in.glob(name + "-*"):
                shutil.rmtree(str(old))
            half = kept_in / (name + ".half")
            shutil.rmtree(str(half), ignore_errors=True)
            make(half)
            half.rename(kept)
        copy(kept, place)
    return place


def copy(directory: Path, place: Path) -> None:
    """Copy a directory to a place that is not there, with owners and with holes, which files of
    databases mostly are.
    """
    subprocess.run(
        ["cp", "-a", "--sparse=always", "--reflink=auto", str(directory), str(place)], check=True
    )


def key(made_by: "list[Path]", versions: "list[str]") -> str:
    """Return the hash of files and versions; what is made belongs to this Python and user."""
    found = hashlib.sha256()
    for path in made_by:
        found.update(path.read_bytes() + b"\0")
    for version in (*versions, sys.version, sys.prefix, str(os.getuid())):
        found.update(version.encode() + b"\0")
    return found.hexdigest()[:16]


def installed() -> str:
    """Return every distribution of this Python with its version; ours is linked to the checkout and
    left out.
    """
    found = {"{} {}".format(one.metadata["Name"], one.version) for one in metadata.distributions()}
    return "\n".join(sorted(name for name in found if not name.startswith("kallithea-tune ")))


def said(*command: object) -> str:
    """Return what a program says of its version."""
    return subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=True,
    ).stdout


@contextlib.contextmanager
def _locked(kept_in: Path, name: str) -> Iterator[None]:
    """Have others wait who make or copy what has this name; the lock is gone with its holder,
    however that ends.
    """
    kept_in.mkdir(exist_ok=True)
    with open(str(kept_in / (name + ".lock")), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
