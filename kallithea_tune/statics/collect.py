"""What there is to serve: every file below the application's public directory and the admin's overlays."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence

from kallithea_tune.errors import Refused

CHUNK = 1 << 20


@dataclass(frozen=True)
class StaticFile:
    """One file to be served: its URL path without the leading slash, and what identifies its content."""

    path: str
    source: str
    size: int
    mtime_ns: int
    sha256: str


def collect(roots: Sequence[str], known: Mapping[str, StaticFile]) -> dict[str, StaticFile]:
    """Return the files below `roots` by path, later roots winning; symbolic links must stay inside their root.

    A file with the source, size and modification time that `known` has is taken to be unchanged and not read again.
    Raises Refused for a link that leads out, and for a name that no URL path can hold safely.
    """
    found = {}
    for root in roots:
        inside = os.path.realpath(root) + os.sep
        for path, source in sorted(_walk(root, "")):
            if not os.path.realpath(source).startswith(inside):
                raise Refused("%s is a link that leads out of %s; replace it by the file itself" % (source, root))
            found[path] = _identified(path, source, known.get(path))
    return found


def _walk(root: str, below: str) -> Iterator[tuple[str, str]]:
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            path = below + "/" + entry.name if below else entry.name
            # What starts with a dot is never served: editors' files, version control, our own manifest.
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, path)
            elif entry.is_file():
                if any(ord(character) < 32 for character in path):
                    raise Refused("%r below %s has a control character in its name; rename it" % (path, root))
                yield path, entry.path


def _identified(path: str, source: str, known: StaticFile | None) -> StaticFile:
    status = os.stat(source)
    if known and (known.source, known.size, known.mtime_ns) == (source, status.st_size, status.st_mtime_ns):
        return known
    return StaticFile(path, source, status.st_size, status.st_mtime_ns, file_sha256(source))


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
