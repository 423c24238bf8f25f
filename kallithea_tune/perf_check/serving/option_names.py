"""Whether code that is installed here reads an option of the ini file, found in its source without
importing it.
"""

from __future__ import annotations

import functools
import os
import re
from importlib import metadata
from typing import Iterable, Iterator

from kallithea_tune.app.package import package_directory
from kallithea_tune.errors import NotMeasured


def is_read(use: str, names: Iterable[str]) -> bool:
    """Tell whether one of `names` is a string constant in the code behind ``egg:name``, or in what
    that requires.
    """
    pattern = re.compile("['\"](?:{})['\"]".format("|".join(re.escape(name) for name in names)))
    return any(pattern.search(source) for source in _sources(use))


@functools.lru_cache(maxsize=None)
def _sources(use: str) -> tuple[str, ...]:
    return tuple(_read(use))


def _read(use: str) -> Iterator[str]:
    for path in _files(use):
        if path.endswith(".py") and "/tests/" not in path:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()


def _files(use: str) -> Iterator[str]:
    name = use.partition(":")[2].partition("#")[0]
    try:
        # What is installed for development has no list of files.
        for folder, _, names in os.walk(package_directory(use)):
            yield from (os.path.join(folder, name) for name in names)
        requirements = metadata.requires(name) or []
    except (NotMeasured, metadata.PackageNotFoundError):
        return
    for requirement in requirements:
        match = re.match(r"[\w.-]+", requirement)
        try:
            files = metadata.files(match.group()) if match else None
        except metadata.PackageNotFoundError:
            continue
        yield from (str(file.locate()) for file in files or ())
