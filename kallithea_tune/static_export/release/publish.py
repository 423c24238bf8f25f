"""Publishes a release: staged beside the destination, made current by one rename.

The destination is a symbolic link to the current release in ``DEST.releases/``. A file that did not
change is a hard link to the previous release's, so it keeps its inode and modification time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from typing import Callable, Iterator, Optional

from kallithea_tune.errors import ConfigError, Refused, TuneError
from kallithea_tune.static_export.release import access, manifest, seal
from kallithea_tune.static_export.release.destination import LOCK, STAGING, releases_of
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.static_export.release.plan import Plan
from kallithea_tune.static_export.release.stage import stage
from kallithea_tune.system import atomic, interruption

Progress = Callable[[str, int, int], None]
NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def silent(title: str, done: int, total: int) -> None:
    """Show nothing."""


def publish(
    plan: Plan,
    destination: str,
    progress: Progress = silent,
    inspect: Callable[[str], None] = lambda directory: None,
) -> Manifest:
    """Publish as planned; return the manifest written, with the sizes of the new variants.

    The previous release stays on disk, and as many earlier ones as the recipe keeps, so that a
    request under way still finds what it opened. `inspect` is called with the new release before it
    becomes current, and may raise. Killed at any moment, the destination shows the complete old
    release or the complete new one. Raises Refused when another run publishes or has published
    meanwhile, ConfigError where permission is missing, TuneError where the disk fails.
    """
    releases = releases_of(destination)
    group = access.group_id(plan.after.recipe.group)
    with _errors_explained(destination), _locked(releases):
        current = _current(plan, destination)
        newest = _number(current)
        _remove_leftovers(releases, newest)
        made = staging = tempfile.mkdtemp(prefix=STAGING, dir=releases)
        try:
            written = stage(plan, staging, current, progress)
            _write(staging, manifest.NAME, manifest.text(written))
            made = os.path.join(releases, f"{newest + 1:04d}")
            _write(staging, manifest.RELEASE_NAME, os.path.basename(made))
            access.apply(staging, plan.after, group)
            _seal(written, staging, group)
            inspect(staging)
            _sync_file_system(releases)
            interruption.check()
            with interruption.deferred():
                os.rename(staging, made)
                _switch(made, destination)
                _remove_old(releases, made, max(1, plan.after.recipe.keep))
        except BaseException:
            with interruption.deferred():
                if os.path.realpath(destination) != made:
                    shutil.rmtree(made, ignore_errors=True)
                shutil.rmtree(staging, ignore_errors=True)
            raise
    return written


def record(plan: Plan, destination: str) -> None:
    """Record that the current release is all right, and its sources as they are now.

    The next run need not read them.
    """
    releases = releases_of(destination)
    with _errors_explained(destination), _locked(releases):
        current = _current(plan, destination)
        interruption.check()
        # A run that is killed must leave nothing foreign inside the release.
        scratch = os.path.realpath(tempfile.mkdtemp(prefix=STAGING, dir=releases))
        try:
            sealed = seal.taken(plan.after, current, os.stat(scratch).st_ctime_ns)
            for name, text in (
                (manifest.NAME, manifest.text(plan.after)),
                (manifest.SEAL_NAME, seal.text(sealed)),
            ):
                path = os.path.join(current, name)
                atomic.replace(path, text, directory=scratch, like=manifest.NAME)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _current(plan: Plan, destination: str) -> str:
    """Return the directory of the current release, empty for none; it may have been deleted.

    Raises Refused if the release is not the one that was planned with.
    """
    if (manifest.read(destination) if os.path.islink(destination) else None) != plan.before:
        raise Refused(
            f"{destination} was published by another run meanwhile; run the command again"
        )
    return os.path.realpath(destination) if os.path.islink(destination) else ""


def _write(directory: str, name: str, text: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        file.write(text)


def _seal(release: Manifest, staging: str, group: Optional[int]) -> None:
    """Write down what is in the complete release, and when that was."""
    path = os.path.join(staging, manifest.SEAL_NAME)
    with open(path, "w", encoding="utf-8") as file:
        began_ns = os.fstat(file.fileno()).st_ctime_ns
        file.write(seal.text(seal.taken(release, staging, began_ns)))
    access.set_rights(path, release.recipe.mode, group)


def _switch(made: str, destination: str) -> None:
    """Make `destination` a link to the release `made` by one rename, and sync it to disk."""
    parent = os.path.dirname(destination)
    link = os.path.join(tempfile.mkdtemp(prefix=STAGING, dir=os.path.dirname(made)), "link")
    try:
        os.symlink(os.path.relpath(made, parent), link)
        if os.path.lexists(destination) and not os.path.islink(destination):
            # An empty directory that the admin made: nothing was served from it. Anything else
            # makes this fail.
            os.rmdir(destination)
        os.rename(link, destination)
    finally:
        shutil.rmtree(os.path.dirname(link), ignore_errors=True)
    _sync_file_system(parent)


def _sync_file_system(directory: str) -> None:
    """Sync one file system to disk; the others of a busy server may take long."""
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


def _remove_leftovers(releases: str, newest: int) -> None:
    """Remove what a killed run left: we have the lock, and nothing newer was ever served."""
    for name in os.listdir(releases):
        if name.startswith(STAGING) or _number(name) > newest:
            shutil.rmtree(os.path.join(releases, name), ignore_errors=True)


def _remove_old(releases: str, current: str, keep: int) -> None:
    """Remove the oldest releases, renaming them first: half a release must not look like one."""
    older = sorted(
        number for number in map(_number, os.listdir(releases)) if 0 < number < _number(current)
    )
    for number in older[:-keep]:
        aside = tempfile.mkdtemp(prefix=STAGING, dir=releases)
        with contextlib.suppress(OSError):
            os.rename(os.path.join(releases, f"{number:04d}"), os.path.join(aside, "old"))
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _locked(releases: str) -> Iterator[None]:
    """Keep other runs out; leave no directory behind in which nothing was published."""
    if not os.path.isdir(releases):
        os.mkdir(releases)
        # Whatever the umask: access is restricted further inside.
        os.chmod(releases, 0o755)
    path = os.path.join(releases, LOCK)
    with open(_lock_file(path), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The other run may have removed it just before it gave the lock back.
            if not os.path.exists(path) or not os.path.samestat(
                os.stat(path), os.fstat(lock.fileno())
            ):
                raise BlockingIOError
        except BlockingIOError:
            raise Refused(
                f"another static-export is publishing to {releases}; wait for it"
            ) from None
        try:
            yield
        finally:
            if os.listdir(releases) == [LOCK]:
                os.unlink(path)
                os.rmdir(releases)


def _lock_file(path: str) -> int:
    """Open the file whose lock only one run has; whatever else is there stays as it is."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused(f"{path} is not a regular file; move it away")
    return handle


@contextlib.contextmanager
def _errors_explained(destination: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = ConfigError if error.errno in NO_PERMISSION else TuneError
        # A rename fails because of its target more often than of its source.
        place = error.filename2 or error.filename or destination
        raise kind(f"{place}: {error.strerror}; {destination} is unchanged") from None
