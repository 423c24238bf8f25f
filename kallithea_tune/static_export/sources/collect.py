"""Collects every file below the application's public directories and the admin's overlays."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.release.manifest import StaticFile
from kallithea_tune.system import interruption
from kallithea_tune.text import has_control

CHUNK = 1 << 20
# The directory of RFC 8615, such as for security.txt: the only published name with a leading dot.
WELL_KNOWN = ".well-known"
# A certificate client writes there what is read within seconds, between two exports.
CHALLENGES = f"{WELL_KNOWN}/acme-challenge"


class Unpublished(NamedTuple):
    """Something below a directory that is not published, and why."""

    source: str
    reason: str


def collect(roots: Sequence[str], known: Mapping[str, StaticFile]) -> dict[str, StaticFile]:
    """Return the files below `roots` by URL path; later roots win.

    A file with the source, size and times that it has in `known` counts as unchanged and is not
    read again. Raises ConfigError for what cannot be read, and Refused for a link out of its root
    or to a directory, and for names that no URL can have or that cannot be served together.
    """
    files = {}
    for root in roots:
        inside = os.path.realpath(root) + os.sep
        try:
            for path, source, obstacle in sorted(_walk(root, "")):
                interruption.check()
                if obstacle:
                    continue
                if not os.path.realpath(source).startswith(inside):
                    raise Refused(
                        f"{source} is a link out of {root}; replace it with the file itself"
                    )
                files[path] = _identified(path, source, known.get(path))
        except OSError as error:
            place = (error.filename or root).rstrip(os.sep)
            raise ConfigError(f"{place} cannot be read: {error.strerror}") from None
    return overlaid(files, {})


def unpublished(roots: Sequence[str]) -> list[Unpublished]:
    """Return what is below `roots` and `collect` leaves out. Raises as `collect` does."""
    try:
        return [
            Unpublished(source, obstacle)
            for root in roots
            for _, source, obstacle in sorted(_walk(root, ""))
            if obstacle
        ]
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from None


def overlaid(
    files: Mapping[str, StaticFile], others: Mapping[str, StaticFile]
) -> dict[str, StaticFile]:
    """Return `files` with `others` added, and in place of those at the same path.

    Raises Refused where a file of one is a directory of the other.
    """
    merged = {**files, **others}
    _refuse_file_and_directory(merged)
    return merged


def _walk(root: str, below: str) -> Iterator[tuple[str, str, str]]:
    """Yield URL path and source of every file, and why it cannot be published, empty if it can."""
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            interruption.check()
            path = below + "/" + entry.name if below else entry.name
            obstacle = _obstacle(path, entry)
            if obstacle:
                yield path, entry.path, obstacle
                continue
            _refuse_name(path, root)
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, path)
            elif entry.is_dir():
                raise Refused(
                    f"{entry.path} is a link to a directory; replace it with the files themselves"
                )
            else:
                yield path, entry.path, ""


def _obstacle(path: str, entry: os.DirEntry[str]) -> str:
    """Return why something is not published."""
    if path == CHALLENGES:
        return "it changes between exports"
    # Editors' files, version control, our own manifest.
    if entry.name.startswith(".") and path != WELL_KNOWN:
        return "its name begins with a dot"
    try:
        if entry.is_dir() or entry.is_file():
            return ""
        mode = os.stat(entry.path).st_mode
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
        return "it is a link that leads nowhere"
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return f"it is {kinds.get(stat.S_IFMT(mode), 'a device')}"


def _refuse_name(path: str, root: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused(f"'{path}' below {root} is not UTF-8, as URLs must be; rename it") from None
    if has_control(path):
        raise Refused(f"'{path}' below {root} has a control character in its name; rename it")
    if "?" in path or "\\" in path:
        # Apache's RewriteRule finds no "?", Caddy no backslash, whatever the URL's encoding.
        raise Refused(
            f"'{path}' below {root} has a '?' or a backslash in its name, which not every web "
            "server can serve; rename it"
        )


def _refuse_file_and_directory(files: Mapping[str, StaticFile]) -> None:
    for path, file in files.items():
        parent = os.path.dirname(path)
        while parent:
            if parent in files:
                raise Refused(
                    f"{files[parent].source} is a file, and {file.source} needs a directory of "
                    "that name; remove one of the two"
                )
            parent = os.path.dirname(parent)


def _identified(path: str, source: str, known: Optional[StaticFile]) -> StaticFile:
    status = os.stat(source)
    identity = (source, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if known and (known.source, known.size, known.mtime_ns, known.ctime_ns) == identity:
        return known
    return StaticFile(path, *identity, file_sha256(source))


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
