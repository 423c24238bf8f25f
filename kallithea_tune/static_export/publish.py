"""Publishes a release: staged beside the destination, swapped in by one rename.

The destination is a symbolic link to the current release in ``DEST.releases/``. A file that did not
change is a hard link to the previous release's, so it keeps its inode and modification time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import shutil
import tempfile
from typing import Callable, Iterator

from kallithea_tune.errors import ConfigError, Refused, TuneError
from kallithea_tune.static_export import access, compress, manifest
from kallithea_tune.static_export.destination import LOCK, STAGING, releases_of
from kallithea_tune.static_export.manifest import SUFFIXES, Manifest, Published
from kallithea_tune.static_export.plan import Plan
from kallithea_tune.static_export.stage import bring, carry

Progress = Callable[[str, int, int], None]
NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def silent(title: str, done: int, total: int) -> None:
    """Show nothing."""


def carry_out(
    todo: Plan,
    destination: str,
    progress: Progress = silent,
    inspect: Callable[[str], None] = lambda directory: None,
) -> Manifest:
    """Publish as planned and return the manifest written, with the sizes of the new variants.

    The release before stays on disk, and as many earlier ones as the recipe keeps, so that a
    request under way still finds what it opened. `inspect` is called with the new release before it
    is swapped in, and may raise. Killed at any instant, the destination shows the old release whole
    or the new one whole. Raises Refused when another run publishes or has published meanwhile,
    ConfigError where permission is missing, TuneError where the disk fails.
    """
    holder = releases_of(destination)
    group = access.group_id(todo.after.recipe.group)
    with _explained(destination), _alone(holder):
        current = _current(todo, destination)
        _clean(holder, current)
        made = staging = tempfile.mkdtemp(prefix=STAGING, dir=holder)
        try:
            written = _stage(todo, staging, current, progress)
            _write(staging, manifest.NAME, manifest.text(written))
            made = os.path.join(holder, "%04d" % ((_number(current) + 1,)))
            _write(staging, manifest.OWN_NAME, os.path.basename(made))
            access.apply(staging, todo.after, group)
            inspect(staging)
            _sync(holder)
            os.rename(staging, made)
            _swap(made, destination)
        except BaseException:
            if os.path.realpath(destination) != made:
                shutil.rmtree(made, ignore_errors=True)
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _forget(holder, made, max(1, todo.after.recipe.keep))
    return written


def record(todo: Plan, destination: str) -> None:
    """Write down what the release that stands was found to be made from now, so that the next run
    need not read it.
    """
    holder = releases_of(destination)
    with _explained(destination), _alone(holder):
        path = os.path.join(_current(todo, destination), manifest.NAME)
        staging = tempfile.mkdtemp(prefix=STAGING, dir=holder)
        try:
            _write(staging, manifest.NAME, manifest.text(todo.after))
            shutil.copystat(path, os.path.join(staging, manifest.NAME))
            os.replace(os.path.join(staging, manifest.NAME), path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _current(todo: Plan, destination: str) -> str:
    """Return the directory of the release that stands, empty for none. Raises Refused when it is
    another by now.
    """
    if (manifest.read(destination) if os.path.islink(destination) else None) != todo.before:
        raise Refused(
            f"{destination} was published by another run meanwhile; run the command again"
        )
    return os.path.realpath(destination) if todo.before else ""


def _stage(todo: Plan, staging: str, previous: str, progress: Progress) -> Manifest:
    same = todo.before is not None and todo.before.recipe.making == todo.after.recipe.making
    for number, (path, item) in enumerate(todo.after.files.items()):
        progress("copying", number, len(todo.after.files))
        target = os.path.join(staging, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if path in todo.taken:
            carry(os.path.join(previous, path), target, same)
        else:
            bring(item, target, todo.after.recipe.how)
    for path, coding, _ in todo.after.variants():
        variant = path + SUFFIXES[coding]
        carry(os.path.join(previous, variant), os.path.join(staging, variant), same)
    sizes = compress.write_variants(todo.compressing, staging, progress)
    files = {
        path: Published(
            item.file, item.mtime_ns, {**item.variants, **sizes.get(path, {})}, item.kept
        )
        for path, item in todo.after.files.items()
    }
    return dataclasses.replace(todo.after, files=files)


def _write(directory: str, name: str, text: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _swap(made: str, destination: str) -> None:
    """Make `destination` a link to the release `made` by one rename, and have the file system keep
    it.
    """
    parent = os.path.dirname(destination)
    link = os.path.join(tempfile.mkdtemp(prefix=STAGING, dir=os.path.dirname(made)), "link")
    try:
        os.symlink(os.path.relpath(made, parent), link)
        if os.path.isdir(destination) and not os.path.islink(destination):
            # An empty directory that the admin made: nothing was served from it.
            os.rmdir(destination)
        os.rename(link, destination)
    finally:
        shutil.rmtree(os.path.dirname(link), ignore_errors=True)
    _sync(parent)


def _sync(directory: str) -> None:
    """Have the file system of `directory` write all it holds; the other ones of a busy server may
    take long.
    """
    import ctypes

    handle = os.open(directory, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
        if syncfs is None or syncfs(handle):
            os.sync()
    finally:
        os.close(handle)


def _number(path: str) -> int:
    name = os.path.basename(path)
    return int(name) if name.isdigit() else 0


def _clean(holder: str, current: str) -> None:
    """Remove what a killed run left: the lock says that none is running, and nothing newer was ever
    served.
    """
    for name in os.listdir(holder):
        if name.startswith(STAGING) or _number(name) > _number(current):
            shutil.rmtree(os.path.join(holder, name), ignore_errors=True)


def _forget(holder: str, current: str, keep: int) -> None:
    """Remove the oldest releases; under another name first, so that no half of one is taken for a
    release.
    """
    older = sorted(
        number for number in map(_number, os.listdir(holder)) if 0 < number < _number(current)
    )
    for number in older[:-keep]:
        aside = tempfile.mkdtemp(prefix=STAGING, dir=holder)
        with contextlib.suppress(OSError):
            os.rename(os.path.join(holder, "%04d" % number), os.path.join(aside, "old"))
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _alone(holder: str) -> Iterator[None]:
    if not os.path.isdir(holder):
        os.mkdir(holder)
        # Whatever the umask: who may read what is decided inside.
        os.chmod(holder, 0o755)
    with open(os.path.join(holder, LOCK), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another static-export is publishing to {holder}; wait for it") from None
        yield


@contextlib.contextmanager
def _explained(destination: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = ConfigError if error.errno in NO_PERMISSION else TuneError
        # A rename fails for its target more often than for its source.
        place = error.filename2 or error.filename or destination
        raise kind(f"{place}: {error.strerror}; what {destination} showed before stands") from None
