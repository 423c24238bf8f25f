"""The application's distribution and package, found without importing the application."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from typing import NamedTuple

from kallithea_tune.errors import NotMeasured


class Distribution(NamedTuple):
    """What pip installed; the version is empty for what it did not."""

    name: str
    version: str


def distribution(use: str) -> Distribution:
    """Return the distribution behind ``egg:name``; without a version for other factories."""
    name = use.partition(":")[2].partition("#")[0]
    try:
        return Distribution(name, metadata.version(name))
    except (metadata.PackageNotFoundError, ValueError):
        return Distribution(name, "")


def package_directory(use: str) -> str:
    """Return the directory of the package behind ``egg:name``.

    Raises NotMeasured for any other kind of factory, and where nothing of that name is installed.
    """
    scheme, _, rest = use.partition(":")
    name = rest.partition("#")[0]
    if scheme != "egg" or not name:
        raise NotMeasured(f"use = {use} does not say where the application's code is")
    try:
        entry_points = [
            entry_point
            for entry_point in metadata.distribution(name).entry_points
            if entry_point.group == "paste.app_factory"
        ]
    except metadata.PackageNotFoundError:
        raise NotMeasured(f"{name} is not installed here") from None
    module = (entry_points[0].value if entry_points else name).partition(":")[0]
    package = module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotMeasured(f"the package {package} is not installed here")
    return next(iter(spec.submodule_search_locations))
