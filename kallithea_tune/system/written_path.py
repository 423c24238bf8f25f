"""The one rule for every path that we are given to write to: nothing of anybody else's is changed.

A new file is created, and a file that the same option has written before, proven by its content, is
replaced or continued; an empty file counts as such. A stream is written to: ``/dev/null``,
``/dev/stdout``, ``/dev/fd/N``, a terminal, a FIFO with a reader. All else is refused, untouched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from dataclasses import dataclass
from typing import Callable, Mapping, Optional

from kallithea_tune.errors import ConfigError, Refused, TuneError
from kallithea_tune.system import atomic

HEAD = 4096  # bytes of a file that `Output.recognises` gets
# Documentation/admin-guide/devices.txt of Linux: null and full; then terminals by their majors.
_STREAMS = (os.makedev(1, 3), os.makedev(1, 7))
_TERMINALS = frozenset({4, 5, *range(136, 144)})
_LINKS = 40  # as many as Linux follows


@dataclass(frozen=True)
class Output:
    """What an option writes: ``--save``, "a run that --save wrote", how its first bytes look."""

    option: str
    what: str
    recognises: Callable[[bytes], bool]
    streams: bool = True


@dataclass(frozen=True)
class Place:
    """Where an output may go: a real `path` with the file there now, or an open stream."""

    output: Output
    path: str
    file: Optional[tuple[int, int]] = None  # device and inode; None for a new file
    stream: Optional[int] = None


def examine(path: str, output: Output, others: Optional[Mapping[str, str]] = None) -> Place:
    """Return the place that is `path`; a stream is opened, and anything else stays as it is.

    `others` are the paths that the command uses otherwise, by what they are, such as "the ini
    file". Raises ConfigError where nothing can be written, Refused where it would be unsafe.
    """
    shown = f"{output.option} {path}"
    refuse_control_characters(path, output.option)
    try:
        descriptor = _own_descriptor(path)
        if descriptor is not None:
            return Place(output, path, stream=_duplicate(descriptor, shown, output))
        real = resolved(path, output.option)
        _refuse_others(real, shown, others or {})
        try:
            status = os.lstat(real)
        except FileNotFoundError:
            _require_directory(real, shown)
            return Place(output, real)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{shown} is a directory; give a file in it")
        _refuse_planted_file(real, status, shown)
        if stat.S_ISREG(status.st_mode):
            _require_ours(real, status, shown, output)
            return Place(output, real, (status.st_dev, status.st_ino))
        return Place(output, real, stream=_opened_stream(real, status, shown, output))
    except OSError as error:
        raise ConfigError(f"{shown} cannot be written: {error.strerror}") from None


def examine_directory(path: str, option: str) -> str:
    """Return the real path of a directory to write files into, one that is there or a new one.

    Raises ConfigError where nothing can be written, Refused where it would be unsafe.
    """
    shown = f"{option} {path}"
    none = f"{shown} is not a directory; give one, or a name that is free"
    refuse_control_characters(path, option)
    try:
        if _own_descriptor(path) is not None:
            raise Refused(none)
        real = resolved(path, option)
        try:
            status = os.lstat(real)
        except FileNotFoundError:
            _require_directory(real, shown)
            return real
        if not stat.S_ISDIR(status.st_mode):
            raise Refused(none)
        if status.st_mode & stat.S_IWOTH:
            raise Refused(f"{shown} is a directory that everybody may write to; give one inside it")
        _refuse_planted_file(real, status, shown)
        _require_directory(os.path.join(real, ""), shown)
        return real
    except OSError as error:
        raise ConfigError(f"{shown} cannot be written: {error.strerror}") from None


def write(place: Place, text: str, mode: Optional[int] = None) -> None:
    """Write `text`: into the stream, or as a file that replaces what was examined.

    A new file gets `mode`, by default what the umask leaves. Raises TuneError when it fails, and
    what `examine` does when something else is there by now.
    """
    try:
        if place.stream is None:
            examine(place.path, place.output)
            atomic.replace(place.path, text, mode)
            return
        # What was printed before comes first, should it be the same stream.
        sys.stdout.flush()
        with open(place.stream, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except OSError as error:
        reason = f"{place.output.option} {place.path} cannot be written: {error.strerror}"
        raise TuneError(reason) from None


def open_file(place: Place) -> int:
    """Open the file to read and append to it, a new one with mode 600.

    Raises OSError, and Refused when it is not the one that was examined.
    """
    parent, name = os.path.split(place.path)
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with atomic.opened_directory(parent) as directory:
        if place.file is None:
            return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        handle = os.open(name, flags, dir_fd=directory)
    status = os.fstat(handle)
    if (status.st_dev, status.st_ino) != place.file:
        os.close(handle)
        raise Refused(
            f"{place.output.option} {place.path} was replaced meanwhile; run the command again"
        )
    return handle


def refuse_control_characters(path: str, option: str) -> None:
    """Raise ConfigError for a path that is empty or has a control character."""
    if not path.strip() or any(ord(letter) < 32 or 126 < ord(letter) < 160 for letter in path):
        raise ConfigError(f"{option} is empty or contains a control character; give another path")


def resolved(path: str, option: str) -> str:
    """Return the absolute path without links; what it ends in need not exist.

    Raises Refused for a link that belongs neither to root or us, nor to the owner of what it leads
    to: whoever made it wants us to write where they cannot. Raises OSError for a circle of links.
    """
    rest = os.path.join(os.getcwd(), path).split("/")[::-1]
    place, links = "/", 0
    while rest:
        name = rest.pop()
        step = os.path.dirname(place) if name == ".." else os.path.join(place, name)
        if name in ("", "."):
            continue
        if not os.path.islink(step):
            place = step
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        _refuse_planted(step, option)
        target = os.readlink(step)
        place = "/" if target.startswith("/") else place
        rest += target.split("/")[::-1]
    return place


def _refuse_planted(link: str, option: str) -> None:
    end = os.path.realpath(link)
    owner = os.stat(end if os.path.exists(end) else os.path.dirname(end)).st_uid
    if os.lstat(link).st_uid not in (0, os.geteuid(), owner):
        raise Refused(
            f"{option}: {link} is a link to {end} that another user created; give the path itself"
        )


def _own_descriptor(path: str) -> Optional[int]:
    """Return the number of our own descriptor behind ``/dev/stdout`` and the like, else None."""
    own = os.path.realpath("/proc/self/fd")
    for _ in range(_LINKS):
        parent, name = os.path.split(path)
        if name.isdigit() and os.path.realpath(parent) == own:
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(parent, os.readlink(path))
    return None


def _duplicate(descriptor: int, shown: str, output: Output) -> int:
    _require_streams(shown, output)
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise Refused(f"{shown} is open for reading only; give another path")
    return os.dup(descriptor)


def _require_streams(shown: str, output: Output) -> None:
    if not output.streams:
        raise Refused(f"{shown} is not a regular file, which is needed here; give another path")


def _opened_stream(path: str, status: os.stat_result, shown: str, output: Output) -> int:
    _require_streams(shown, output)
    device = stat.S_ISCHR(status.st_mode) and (
        status.st_rdev in _STREAMS or os.major(status.st_rdev) in _TERMINALS
    )
    if not device and not stat.S_ISFIFO(status.st_mode):
        raise Refused(f"{shown} is neither a file nor a stream; give another path")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise ConfigError(f"{shown} has no reader; start one first") from None
        raise
    os.set_blocking(handle, True)
    return handle


def _refuse_others(path: str, shown: str, others: Mapping[str, str]) -> None:
    for what, other in others.items():
        real = os.path.realpath(other)
        same = os.path.exists(path) and os.path.exists(real) and os.path.samefile(path, real)
        if same or os.path.commonpath([path, real]) == real:
            place = what if same or path == real else f"inside {what}"
            raise Refused(f"{shown} is {place}; give another path")


def _refuse_planted_file(path: str, status: os.stat_result, shown: str) -> None:
    """Raise Refused for what somebody else made where everybody may, as Linux's protected_regular.

    They could read what is written, or have proven that it is ours by copying one of our files.
    """
    directory = os.stat(os.path.dirname(path))
    ours = status.st_uid in (0, os.geteuid(), directory.st_uid)
    if directory.st_mode & stat.S_IWOTH and not ours:
        raise Refused(f"{shown} was created by another user; give another path")


def _require_directory(path: str, shown: str) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ConfigError(f"{shown}: the directory {directory} does not exist")
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise ConfigError(f"{shown}: the directory {directory} is not writable")


def _require_ours(path: str, status: os.stat_result, shown: str, output: Output) -> None:
    if status.st_nlink > 1:
        raise Refused(
            f"{shown} has a second hard link, which would keep the old content; remove one"
        )
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as file:
        head = file.read(HEAD)
    if head and not output.recognises(head):
        raise Refused(f"{shown} is not {output.what}, so it is left unchanged; give another path")
    # Root's rights override the mode, which says nevertheless what its owner wants.
    if not status.st_mode & 0o222 or not os.access(path, os.W_OK, effective_ids=True):
        raise ConfigError(f"{shown} is read-only, so it is left unchanged")
    _require_directory(path, shown)
