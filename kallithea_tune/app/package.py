"""Kallithea's package and the code around it, found without importing either."""

from __future__ import annotations

import os
from importlib import metadata
from typing import Iterable, Iterator

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
