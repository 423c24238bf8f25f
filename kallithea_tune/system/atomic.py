"""Replaces a file atomically: readers, and a kill at any moment, see the old or the new one.

What is written lies in a directory that nobody else may enter until it is renamed: a new password
is never in a file that others can read. What a killed run left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from typing import Iterator, Optional

from kallithea_tune.errors import Refused

PREFIX = ".kallithea-tune-new-"
LOCKING = 0.1  # seconds between creating a directory and having locked it, at most
_NAME = "new"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def replace(
    path: str, text: str, mode: Optional[int] = None, directory: str = "", like: str = ""
) -> None:
    """Write `text` to `path`, an absolute path without links, and sync it to disk.

    Owner, mode, access control list and other attributes stay as they were, or are those of the
    file `like` beside it; a new file gets `mode`, by default what the umask leaves. The temporary
    file is below `directory`, which must be on the same file system; without one, beside the file.
    Line ends are written as they are. Raises OSError, having changed nothing.
    """
    parent, name = os.path.split(path)
    with contextlib.ExitStack() as opened:
        place = opened.enter_context(opened_directory(parent))
        around = opened.enter_context(opened_directory(directory)) if directory else place
        scratch = opened.enter_context(_private_directory(around))
        handle = os.open(_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=scratch)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            copy_access(place, like or name, file.fileno())
            os.fsync(file.fileno())
        os.replace(_NAME, name, src_dir_fd=scratch, dst_dir_fd=place)
        os.fsync(place)


def create(directory: str, name: str, text: str) -> None:
    """Write `text` to the new file `name`, which only we may read, and sync it to disk.

    `directory` is an absolute path without links. Raises FileExistsError where the name is in use,
    and OSError, having changed nothing.
    """
    with opened_directory(directory) as place, _private_directory(place) as scratch:
        handle = os.open(_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=scratch)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _give_name(scratch, place, name)
        os.fsync(place)


def backup(path: str) -> str:
    """Copy the file to an unused name beside it, with the same access; return that name.

    The copy gets its name when it is complete. One that a killed run left, and is the same, serves
    again. Raises OSError, and Refused where all names are in use.
    """
    parent, name = os.path.split(path)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    with opened_directory(parent) as place, _private_directory(place) as scratch:
        handle = os.open(_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=scratch)
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place)
        with open(handle, "w+b") as copy, open(old, "rb") as source:
            shutil.copyfileobj(source, copy)
            copy.flush()
            copy_access(place, name, copy.fileno())
            os.fsync(copy.fileno())
            same = _same_backup(place, name, copy.fileno())
        if same:
            return os.path.join(parent, same)
        for number in range(1000):
            chosen = f"{name}.{stamp}" + (f"-{number}" if number else "")
            with contextlib.suppress(FileExistsError):
                _give_name(scratch, place, chosen)
                return os.path.join(parent, chosen)
    raise Refused(f"{path} has a thousand backups of this second; run the command again")


def _same_backup(place: int, name: str, handle: int) -> str:
    """Return the newest backup of the file `name`, if it is as the one that is open."""
    form = re.compile(re.escape(name) + r"\.\d{8}-\d{6}(-\d+)?")
    for found in sorted(filter(form.fullmatch, os.listdir(place)), reverse=True)[:1]:
        with contextlib.suppress(OSError):
            other = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            with open(other, "rb") as there, open(handle, "rb", closefd=False) as here:
                here.seek(0)
                alike = _access(other) == _access(handle) and there.read() == here.read()
            return found if alike else ""
    return ""


def _access(handle: int) -> tuple[int, int, int]:
    status = os.fstat(handle)
    return status.st_mode, status.st_uid, status.st_gid


def _give_name(scratch: int, place: int, name: str) -> None:
    """Give the file in `scratch` a name in `place`. Raises FileExistsError where that is in use."""
    try:
        os.link(_NAME, name, src_dir_fd=scratch, dst_dir_fd=place, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links.
        if name in os.listdir(place):
            raise FileExistsError(errno.EEXIST, "it exists", name) from None
        os.rename(_NAME, name, src_dir_fd=scratch, dst_dir_fd=place)


def copy_access(directory: int, name: str, handle: int) -> None:
    """Give an open file the owner, mode and attributes of the file `name`, if there is one.

    Attributes are access control lists and the SELinux context among others. Only root may, and
    need, give files away. Raises OSError where `name` is not a regular file.
    """
    try:
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(old)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EEXIST, "it is no longer a regular file", name)
        if os.geteuid() == 0 or status.st_gid != os.getegid():
            with contextlib.suppress(PermissionError):
                os.fchown(handle, status.st_uid, status.st_gid)
        _copy_attributes(old, handle)
        os.fchmod(handle, stat.S_IMODE(status.st_mode))
    finally:
        os.close(old)


def _copy_attributes(old: int, new: int) -> None:
    """Copy what the file system and our rights allow; an inherited access control list goes."""
    with contextlib.suppress(OSError):
        kept = os.listxattr(old)
        for name in set(os.listxattr(new)) - set(kept):
            with contextlib.suppress(OSError):
                os.removexattr(new, name)
        for name in kept:
            with contextlib.suppress(OSError):
                os.setxattr(new, name, os.getxattr(old, name))


@contextlib.contextmanager
def opened_directory(path: str) -> Iterator[int]:
    """Open a directory by an absolute path; a link in it, planted meanwhile, is an OSError."""
    handle = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for name in filter(None, path.split("/")):
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            inner = os.open(name, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
        inner = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = inner
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _private_directory(parent: int) -> Iterator[int]:
    """Create a directory that only we may enter, locked while we live; remove it afterwards."""
    _remove_leftovers(parent)
    name = PREFIX + secrets.token_hex(8)
    os.mkdir(name, 0o700, dir_fd=parent)
    try:
        handle = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            with contextlib.suppress(OSError):  # A file system without locks.
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_NAME, dir_fd=handle)
            os.close(handle)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=parent)


def remove_leftovers(directory: str) -> None:
    """Remove what killed runs left in a directory, an absolute path. Raises OSError."""
    with opened_directory(directory) as parent:
        _remove_leftovers(parent)


def _remove_leftovers(parent: int) -> None:
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError):
                _remove_leftover(parent, name)


def _remove_leftover(parent: int, name: str) -> None:
    """Remove a directory of ours whose process is dead: it has our mode and owner, and no lock."""
    handle = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        status = os.fstat(handle)
        ours = status.st_uid == os.geteuid() and status.st_mode & 0o777 == 0o700
        settled = abs(time.time() - status.st_mtime) > LOCKING
        if ours and settled and set(os.listdir(handle)) <= {_NAME}:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_NAME, dir_fd=handle)
            os.rmdir(name, dir_fd=parent)
    finally:
        os.close(handle)


def sync_directory(path: str) -> None:
    """Have the file system write the names in a directory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
