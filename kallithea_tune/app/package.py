"""Kallithea's package and the code around it, found without importing either."""

from __future__ import annotations

import base64
import functools
import os
from importlib import metadata
from typing import Iterable, Iterator, Mapping, NamedTuple

from kallithea_tune.app import factory
from kallithea_tune.errors import NotMeasured


def kallithea_version() -> str:
    """Return the version of the Kallithea that is installed; empty where pip did not install it."""
    try:
        return metadata.version(factory.KALLITHEA)
    except metadata.PackageNotFoundError:
        return ""


def title(use: str) -> str:
    """Return what the application is called: ``kallithea``, or with what wraps it in front."""
    name = factory.factory(use).distribution
    if not factory.wrappers(use):
        return factory.KALLITHEA
    return f"{name} {metadata.version(name)}, {factory.KALLITHEA}" if name else factory.KALLITHEA


def package_directory() -> str:
    """Return the directory of Kallithea's package. Raises NotMeasured where it is not installed."""
    directory = factory.package_of(factory.KALLITHEA)
    if directory is None:
        raise NotMeasured("Kallithea is not installed here")
    return directory


class Recorded(NamedTuple):
    """A file as an installer unpacked it: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@functools.lru_cache(maxsize=None)
def recorded() -> Mapping[str, Recorded]:
    """Return the files of Kallithea's release as they were installed, by path below its package.

    Empty where none was: the source of an editable installation, or of one from a repository or a
    directory, may change under the same version (PEP 610).
    """
    try:
        distribution = metadata.distribution(factory.KALLITHEA)
    except metadata.PackageNotFoundError:
        return {}
    origin = distribution.read_text("direct_url.json") or ""
    if '"vcs_info"' in origin or '"dir_info"' in origin:
        return {}
    package = factory.KALLITHEA + "/"
    return {
        str(path)[len(package) :]: Recorded(path.size, _hexadecimal(path.hash.value))
        for path in distribution.files or ()
        if str(path).startswith(package)
        and path.size is not None
        and path.hash
        and path.hash.mode == "sha256"
    }


def _hexadecimal(value: str) -> str:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()


def installed_ns() -> int:
    """Return when Kallithea was installed, by its RECORD, which every installer writes; else 0."""
    try:
        files = metadata.distribution(factory.KALLITHEA).files or ()
        records = [path for path in files if path.name == "RECORD"]
        return max((os.stat(path.locate()).st_mtime_ns for path in records), default=0)
    except (metadata.PackageNotFoundError, OSError):
        return 0


def code(use: str) -> tuple[str, ...]:
    """Return Kallithea's package and those that wrap it: directories, or the file of a module.

    Raises NotMeasured where Kallithea is not installed.
    """
    around = map(factory.package_of, factory.wrappers(use) or ())
    return tuple(dict.fromkeys([package_directory(), *filter(None, around)]))


def sources(code: Iterable[str]) -> Iterator[str]:
    """Yield the Python files in what `code` returns, except tests and what pages consist of."""
    for place in code:
        if os.path.isfile(place):
            yield place
        for folder, folders, names in os.walk(place):
            folders[:] = [
                name for name in folders if name not in ("tests", "public", "i18n", "__pycache__")
            ]
            yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))
