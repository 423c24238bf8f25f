"""Which files certainly have the content that their version gives them: nobody made them here."""

from __future__ import annotations

import base64
import os
import re
from importlib import metadata
from typing import Iterable, Mapping

from kallithea_tune.app.factory import KALLITHEA
from kallithea_tune.app.package import package_directory
from kallithea_tune.static_export.release.manifest import StaticFile

# What a release of Kallithea is called (PEP 440), or one of its wrapper's; anything else, such as
# 0.7.0+g1234 or 0.7.99.dev1, is somebody's own build, and the next one may have the same name.
_RELEASED = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?")


def proven(files: Mapping[str, StaticFile], overlays: Iterable[str], version: str) -> set[str]:
    """Return the paths of `files` that are as Kallithea's installed package brought them.

    Nothing of an overlay, of an editable or an own build, or that was edited since, is proven.
    """
    if not _RELEASED.fullmatch(version):
        return set()
    recorded = _recorded()
    directory = os.path.dirname(os.path.realpath(package_directory()))
    inside = tuple(os.path.join(overlay, "") for overlay in overlays)
    return {
        path
        for path, file in files.items()
        if not file.source.startswith(inside)
        and recorded.get(os.path.relpath(file.source, directory)) == (file.size, file.sha256)
    }


def _recorded() -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of the package's files, by path relative to where it is installed.

    Empty where pip did not unpack them from a release: the source of an editable package, or of one
    from a repository, may change under the same version (PEP 610).
    """
    try:
        distribution = metadata.distribution(KALLITHEA)
    except metadata.PackageNotFoundError:
        return {}
    origin = distribution.read_text("direct_url.json") or ""
    if '"vcs_info"' in origin or '"dir_info"' in origin:
        return {}
    return {
        str(path): (path.size, _hexadecimal(path.hash.value))
        for path in distribution.files or ()
        if path.size is not None and path.hash and path.hash.mode == "sha256"
    }


def _hexadecimal(value: str) -> str:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
