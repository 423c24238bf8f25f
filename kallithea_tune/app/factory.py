"""The code of the application's factory, followed by its imports to Kallithea: parsed, never run.

A factory may hang, raise or exit when it is called, and often imports Kallithea only then.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import sysconfig
import warnings
from collections import deque
from dataclasses import dataclass
from importlib import metadata
from typing import Iterator, Optional

KALLITHEA = "kallithea"
# Far above what lies between a factory and Kallithea; one that leads elsewhere ends here.
MOST_FILES, MOST_BYTES = 300, 1 << 20
# Modules without which Kallithea, 0.6.3 or 0.7, does not start, and the names that pip knows.
REQUIRED = {
    "alembic": "alembic",
    "bcrypt": "bcrypt",
    "beaker": "Beaker",
    "celery": "celery",
    "dulwich": "dulwich",
    "formencode": "FormEncode",
    "mako": "Mako",
    "mercurial": "mercurial",
    "pygments": "Pygments",
    "routes": "Routes",
    "sqlalchemy": "SQLAlchemy",
    "tg": "TurboGears2",
    "webhelpers2": "WebHelpers2",
    "webob": "WebOb",
}
COMPOSITES = ("paste.composite_factory", "paste.composit_factory")
_GROUP = "paste.app_factory"
# What Kallithea requires does not lead to it.
_ENDS = frozenset({KALLITHEA, "kallithea_tune", *REQUIRED})
# Every factory of Kallithea's is in kallithea.config; its models alone make no Kallithea.
_FACTORY_CODE = re.compile(r"kallithea\.config(\.\w+)*(:\w+)?")
_EGG = re.compile(r"egg:\s*([\w.-]+)(#[\w.-]+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Factory:
    """What ``use`` refers to: an entry point of a distribution, or a function by its module.

    `distribution` is empty for a function; `group` is that of the entry point. Where the
    distribution has no such entry point, `module` is empty; where it is not installed, `installed`
    is False.
    """

    distribution: str = ""
    module: str = ""
    group: str = _GROUP
    installed: bool = True

    @property
    def title(self) -> str:
        """What an admin calls it."""
        return "Kallithea" if self.is_kallithea else self.distribution or self.module

    @property
    def is_kallithea(self) -> bool:
        """Whether the factory is one of Kallithea's own, installed or not."""
        return re.sub(r"[-_.]+", "-", self.distribution).lower() == KALLITHEA


@functools.lru_cache(maxsize=None)
def factory(use: str) -> Factory:
    """Find the factory ``egg:name#entry`` or ``call:module:function``; nothing is imported."""
    scheme, _, rest = use.partition(":")
    if scheme.lower() != "egg":
        module = rest.partition(":")[0].strip()
        return Factory(module=module, installed=bool(module) and _file_of(module) is not None)
    name, _, entry = (part.strip() for part in rest.partition("#"))
    try:
        points = metadata.distribution(name).entry_points
    except (metadata.PackageNotFoundError, ValueError):
        return Factory(name, installed=False)
    for point in points:
        if point.name == (entry or "main") and point.group in (_GROUP, *COMPOSITES):
            return Factory(name, point.value.partition(":")[0].strip(), point.group)
    return Factory(name)


@functools.lru_cache(maxsize=None)
def wrappers(use: str) -> Optional[tuple[str, ...]]:
    """Return the modules from the factory on that lead to Kallithea's; none for Kallithea itself.

    None where no import, nor a name in a string, leads there. A module that cannot be parsed leads
    nowhere.
    """
    found = factory(use)
    if found.is_kallithea:
        return ()
    if not found.module:
        return None
    ways: dict[str, tuple[str, ...]] = {found.module: (found.module,)}
    waiting = deque(ways)
    read = 0
    while waiting and read < MOST_FILES:
        module = waiting.popleft()
        path = _file_of(module)
        if path is None or _is_standard(path):
            continue
        read += 1
        for other in _mentioned(module, path):
            if _FACTORY_CODE.fullmatch(other):
                return ways[module]
            if other not in ways and other.partition(".")[0] not in _ENDS:
                ways[other] = (*ways[module], other)
                # What is nearer to the factory than a library comes first.
                own = other.partition(".")[0] == module.partition(".")[0]
                (waiting.appendleft if own else waiting.append)(other)
    return None


def package_of(module: str) -> Optional[str]:
    """Return the directory of a module's top-level package, or the file of a lone module."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return next(iter(spec.submodule_search_locations or ()), spec.origin)


def _file_of(module: str) -> Optional[str]:
    """Return the source of a module, found without importing the packages around it."""
    top = package_of(module)
    if top is None:
        return None
    below = os.path.join(top, *module.split(".")[1:])
    candidates = (below, os.path.join(below, "__init__.py"), below + ".py")
    return next((path for path in candidates if os.path.isfile(path)), None)


@functools.lru_cache(maxsize=None)
def _standard() -> str:
    return sysconfig.get_paths()["stdlib"] + os.sep


def _is_standard(path: str) -> bool:
    return path.startswith(_standard()) and "-packages" + os.sep not in path


def _mentioned(module: str, path: str) -> Iterator[str]:
    """Yield the modules that a source imports or names in a string, also inside functions."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read(MOST_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    is_package = os.path.basename(path) == "__init__.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _loaded_by(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _named_by(node.value)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _named_by(text: str) -> Iterator[str]:
    """Yield the module of ``egg:name#entry``, and a name inside ``kallithea.config``."""
    if _EGG.fullmatch(text):
        yield from _entered(text)
    elif _FACTORY_CODE.fullmatch(text):
        yield text


def _entered(use: str) -> Iterator[str]:
    found = factory(use)
    if found.is_kallithea:
        yield "kallithea.config"
    elif found.module:
        yield found.module


def _loaded_by(call: ast.Call) -> Iterator[str]:
    """Yield the modules of ``load_entry_point("name", "paste.app_factory", "entry")``."""
    texts = [
        node.value
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    if _GROUP in texts:
        for name in texts:
            yield from _named_by(f"egg:{name}")
