"""Publishes a release: planned as a value, staged beside the destination, swapped in by one rename.

The destination is a symbolic link to the current release in ``DEST.releases/``. A file that did not change is a hard
link to the previous release's, so it keeps its inode and modification time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Sequence

from kallithea_tune.errors import Refused
from kallithea_tune.statics import compress, manifest
from kallithea_tune.statics.collect import StaticFile
from kallithea_tune.statics.manifest import Manifest, Published

STAGING = ".staging-"
HOW = ("copy", "hardlink", "symlink")


@dataclass(frozen=True)
class Plan:
    """What publishing would change, against what is published now (None at the first time)."""

    before: Manifest | None
    after: Manifest
    codings: Sequence[str]
    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]
    kept: Sequence[str]
    compressing: Sequence[tuple[str, str]]

    @property
    def nothing(self) -> bool:
        """Whether what is published is what would be."""
        return self.before is not None and not (
            self.added or self.changed or self.removed or self.compressing or self.before.files != self.after.files
            or (self.before.version, self.before.how, self.before.roots)
            != (self.after.version, self.after.how, self.after.roots))


def plan(
    before: Manifest | None, files: Mapping[str, StaticFile], app: str, version: str, how: str,
    codings: Sequence[str], keep: int, roots: Sequence[str] = (),
) -> Plan:
    """Say what is to be published: `files`, and those of up to `keep` earlier releases that went away since.

    A page that was loaded before an upgrade still asks for the files of its own version. Pure.
    """
    old = before.files if before else {}
    same_app = before is not None and (before.version, before.app) == (version, app)
    after = {}
    for path, file in files.items():
        known = old[path].variants if path in old and old[path].file.sha256 == file.sha256 else {}
        sized = {coding: size for coding, size in known.items() if coding in codings}
        after[path] = Published(file, sized)
    for path, item in old.items():
        age = item.kept if same_app and item.kept else item.kept + 1
        if path not in files and age <= keep:
            variants = {coding: size for coding, size in item.variants.items() if coding in codings}
            after[path] = Published(item.file, variants, age)
    result = Manifest(app, version, how, after, roots=tuple(roots))
    compressing = [
        (path, coding) for path, item in sorted(after.items()) for coding in codings
        if coding not in item.variants and not item.kept and compress.worth_compressing(path, item.file.size)]
    return Plan(
        before, result, codings,
        sorted(path for path in files if path not in old),
        sorted(path for path in files if path in old and old[path].file.sha256 != files[path].sha256),
        sorted(path for path in old if path not in after),
        sorted(path for path, item in after.items() if item.kept),
        compressing)


def check_destination(destination: str, forbidden: Sequence[str]) -> Manifest | None:
    """Return what is published at `destination`, or None where nothing is yet.

    Raises Refused for a destination that could harm: the root, a home, anything in or around a directory of
    `forbidden` (the application's own), a directory with files that are not ours, a link that is not ours.
    """
    real = os.path.realpath(destination)
    homes = {os.path.realpath(os.path.expanduser("~")), os.path.realpath(os.path.dirname(os.path.expanduser("~")))}
    if os.path.dirname(real) == real or real in homes or os.path.dirname(real) == "/":
        raise Refused("%s is no place to publish into; name a directory of its own below it" % destination)
    for other in map(os.path.realpath, forbidden):
        if (other + os.sep).startswith(real + os.sep) or (real + os.sep).startswith(other + os.sep):
            raise Refused("%s and the application's own %s hold one another; publish elsewhere" % (destination, other))
    if os.path.islink(destination):
        return _check_release(destination, real)
    if os.path.isdir(destination) and not os.listdir(destination) or not os.path.lexists(destination):
        return None
    raise Refused("%s holds files that are not ours; name a directory that is empty or not there" % destination)


def _check_release(destination: str, real: str) -> Manifest:
    if os.path.dirname(real) != os.path.realpath(releases_of(destination)):
        raise Refused("%s is a link that leads out, to %s; remove the link or name another place" % (destination, real))
    found = manifest.read(real)
    if found is None:
        raise Refused("%s has lost its %s; move it away to publish afresh" % (real, manifest.NAME))
    foreign = sorted(set(_files_below(real)) - found.names(compress.SUFFIXES))
    if foreign:
        raise Refused(
            "%s holds %d files that are not ours, %s first; move them into an --overlay directory"
            % (destination, len(foreign), foreign[0]))
    return found


def releases_of(destination: str) -> str:
    """The directory beside `destination` that holds its releases."""
    return os.path.abspath(destination) + ".releases"


def carry_out(
    todo: Plan, destination: str, mode: int, group: int | None, releases: int,
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> Manifest:
    """Publish as planned and return the manifest written, with the sizes of the new variants.

    Files get `mode` and, unless None, `group`; directories also the search bits. `releases` earlier releases stay on
    disk, so that a request under way still finds what it opened. Killed at any instant, the destination shows the old
    release whole or the new one whole.
    """
    holder = releases_of(destination)
    os.makedirs(holder, exist_ok=True)
    with _alone(holder):
        _remove_staging(holder)
        staging = tempfile.mkdtemp(prefix=STAGING, dir=holder)
        try:
            previous = os.path.realpath(destination) if todo.before else None
            written = _stage(todo, staging, previous, progress)
            manifest.write(staging, written)
            _set_access(staging, mode, group)
            os.sync()
            release = _numbered(holder)
            os.rename(staging, release)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _swap(release, destination)
        _prune(holder, release, releases)
    return written


def _stage(
    todo: Plan, staging: str, previous: str | None, progress: Callable[[str, int, int], None]
) -> Manifest:
    before = todo.before.files if todo.before else {}
    same_how = todo.before is not None and todo.before.how == todo.after.how
    for path, item in todo.after.files.items():
        target = os.path.join(staging, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        unchanged = previous and path in before and before[path].file.sha256 == item.file.sha256
        if unchanged and (same_how or item.kept):
            os.link(os.path.join(str(previous), path), target, follow_symlinks=False)
        else:
            _bring(item.file.source, target, todo.after.how)
        for coding, size in item.variants.items():
            if size:
                suffix = compress.SUFFIXES[coding]
                os.link(os.path.join(str(previous), path) + suffix, target + suffix)
    sizes = _compress_all(todo.compressing, staging, progress)
    files = {
        path: Published(item.file, {**item.variants, **sizes.get(path, {})}, item.kept)
        for path, item in todo.after.files.items()}
    return dataclasses.replace(todo.after, files=files)


def _bring(source: str, target: str, how: str) -> None:
    if how == "symlink":
        os.symlink(os.path.realpath(source), target)
        return
    if how == "hardlink":
        try:
            os.link(os.path.realpath(source), target)
            return
        except OSError as error:
            raise Refused(
                "%s cannot be hard-linked to %s (%s); use --how copy" % (source, target, error.strerror)) from None
    shutil.copyfile(source, target)
    status = os.stat(source)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _compress_all(
    todo: Sequence[tuple[str, str]], staging: str, progress: Callable[[str, int, int], None]
) -> dict[str, dict[str, int]]:
    """Write the variants on all cores: zlib, brotli and zstandard release Python's lock while they compress."""
    sizes: dict[str, dict[str, int]] = {}
    # The largest first, so that no core is left with a big one at the end.
    ordered = sorted(todo, key=lambda item: -os.path.getsize(os.path.join(staging, item[0])))
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = {
            pool.submit(
                compress.write_variant, os.path.join(staging, path),
                os.path.join(staging, path) + compress.SUFFIXES[coding], coding): (path, coding)
            for path, coding in ordered}
        try:
            for done, future in enumerate(concurrent.futures.as_completed(running), 1):
                path, coding = running[future]
                sizes.setdefault(path, {})[coding] = future.result()
                progress("compressing", done, len(running))
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return sizes


def _set_access(staging: str, mode: int, group: int | None) -> None:
    """Give new files their mode and group; hard links to earlier releases or to the application are left alone."""
    for directory, _, names in os.walk(staging):
        os.chmod(directory, mode | (mode & 0o444) >> 2 | 0o700)
        if group is not None:
            os.chown(directory, -1, group)
        for name in names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.chmod(path, mode)
                if group is not None:
                    os.chown(path, -1, group)


def _swap(release: str, destination: str) -> None:
    """Make `destination` a link to `release` by one rename, and have the file system keep it."""
    parent = os.path.dirname(os.path.abspath(destination))
    link = os.path.join(releases_of(destination), ".link-%d" % os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    os.symlink(os.path.relpath(release, parent), link)
    if os.path.isdir(destination) and not os.path.islink(destination):
        # An empty directory that the admin made: nothing was served from it.
        os.rmdir(destination)
    os.rename(link, destination)
    handle = os.open(parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _numbered(holder: str) -> str:
    numbers = [int(name) for name in os.listdir(holder) if name.isdigit()]
    return os.path.join(holder, "%04d" % (max(numbers, default=0) + 1))


def _prune(holder: str, current: str, releases: int) -> None:
    names = sorted((name for name in os.listdir(holder) if name.isdigit()), key=int)
    older = [name for name in names if int(name) < int(os.path.basename(current))]
    for name in older[: max(0, len(older) - max(1, releases))]:
        shutil.rmtree(os.path.join(holder, name), ignore_errors=True)


def _remove_staging(holder: str) -> None:
    """Remove what a killed run left; the lock says that none is running."""
    for name in os.listdir(holder):
        if name.startswith(STAGING):
            shutil.rmtree(os.path.join(holder, name), ignore_errors=True)


@contextlib.contextmanager
def _alone(holder: str) -> Iterator[None]:
    with open(os.path.join(holder, ".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another static-export is publishing to %s; wait for it" % holder) from None
        yield


def _files_below(directory: str) -> Iterator[str]:
    for parent, _, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), directory)
