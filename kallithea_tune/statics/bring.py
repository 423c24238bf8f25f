"""Brings one file from the application into a release: as a copy, a hard link or a symbolic link."""

from __future__ import annotations

import hashlib
import os

from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.probes.static_files import CHUNK
from kallithea_tune.release import StaticFile

HOW = ("copy", "hardlink", "symlink")


def bring(file: StaticFile, target: str, how: str) -> None:
    """Make `target` the file's content, as `how` says, with its modification time.

    Raises TuneError when it is no longer the content that was planned, and Refused where no hard link can be made.
    """
    if how == "symlink":
        os.symlink(os.path.realpath(file.source), target)
    elif how == "hardlink":
        _link(file.source, target)
    else:
        _copy(file, target)
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        raise Refused(
            "%s cannot be hard-linked to %s (%s); use --how copy" % (source, target, error.strerror)) from None


def _copy(file: StaticFile, target: str) -> None:
    digest = hashlib.sha256()
    with open(file.source, "rb") as source, open(target, "wb") as copy:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise TuneError("%s was changed while it was published; run the command again" % file.source)
