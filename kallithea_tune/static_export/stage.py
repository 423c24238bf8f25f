"""Brings one file into a release: from the application, as the admin chose, or from the release
before.
"""

from __future__ import annotations

import hashlib
import os
import shutil

from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.static_export.collect import CHUNK
from kallithea_tune.static_export.manifest import Published, StaticFile

HOW = ("copy", "hardlink", "symlink")


def bring(item: Published, target: str, how: str) -> None:
    """Make `target` the item's content, as `how` says, with its modification time; a copy where the
    file has another.

    Raises TuneError when it is no longer the content that was planned, and Refused where no hard
    link can be made.
    """
    file, time = item.file, item.mtime_ns
    if how == "copy" or time != file.mtime_ns:
        _copy(file, target)
        os.utime(target, ns=(time, time))
    elif how == "symlink":
        os.symlink(os.path.realpath(file.source), target)
    else:
        _link(file.source, target)


def carry(path: str, target: str, link: bool) -> None:
    """Take a file over from the release before: the same one by `link`, or else one like it, to be
    given another mode.

    What is served now must not change before the new release is there whole.
    """
    if link:
        os.link(path, target, follow_symlinks=False)
    else:
        shutil.copy2(path, target, follow_symlinks=False)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        raise Refused(
            f"{source} cannot be hard-linked to {target} ({error.strerror}); use --how copy"
        ) from None


def _copy(file: StaticFile, target: str) -> None:
    digest = hashlib.sha256()
    with open(file.source, "rb") as source, open(target, "wb") as copy:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise TuneError(f"{file.source} was changed while it was published; run the command again")
