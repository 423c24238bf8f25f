"""Fills the staging directory of a release, from the application or the previous release."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from typing import Callable

from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.static_export.release import compress
from kallithea_tune.static_export.release.manifest import Manifest, Published, StaticFile
from kallithea_tune.static_export.release.plan import Plan
from kallithea_tune.static_export.sources.collect import CHUNK
from kallithea_tune.system import interruption

HOW = ("copy", "hardlink", "symlink")


def stage(
    plan: Plan, staging: str, previous: str, progress: Callable[[str, int, int], None]
) -> Manifest:
    """Fill the directory `staging` as planned, from the release in `previous` where possible.

    Returns the manifest, with the sizes of the new variants. Raises as `add_file` does.
    """
    after = plan.after
    for number, (path, item) in enumerate(after.files.items()):
        interruption.check()
        progress("copying", number, len(after.files))
        target = os.path.join(staging, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if path in plan.reusable:
            reuse_file(os.path.join(previous, path), target, plan.links)
        else:
            add_file(item, target, after.recipe.how)
    for variant in after.variants():
        interruption.check()
        source, target = (os.path.join(where, variant.name) for where in (previous, staging))
        reuse_file(source, target, plan.links)
    sizes = compress.write_variants(plan.compressing, staging, progress)
    files = {
        path: dataclasses.replace(item, variants={**item.variants, **sizes.get(path, {})})
        for path, item in after.files.items()
    }
    staged = dataclasses.replace(after, files=files)
    for lasting, name in staged.lasting.items():
        target = os.path.join(staging, lasting)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _link_or_copy(os.path.join(staging, name), target)
    return staged


def _link_or_copy(path: str, target: str) -> None:
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:
        # A file system without hard links; a copy costs only room.
        shutil.copy2(path, target, follow_symlinks=False)


def add_file(item: Published, target: str, how: str) -> None:
    """Create `target` with the item's content and time, in the way `how`.

    It is a copy where the source has another time. Raises TuneError when the content is no longer
    what was planned, and Refused where no hard link can be made.
    """
    file, mtime_ns = item.file, item.mtime_ns
    if how == "copy" or mtime_ns != file.mtime_ns:
        _copy(file, target)
        os.utime(target, ns=(mtime_ns, mtime_ns))
    elif how == "symlink":
        os.symlink(os.path.realpath(file.source), target)
    else:
        _link(file.source, target)


def reuse_file(path: str, target: str, link: bool) -> None:
    """Take a file from the previous release: the same one by `link`, else a copy.

    A copy can be given another mode; what is served now must not change before the new release is
    complete.
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
