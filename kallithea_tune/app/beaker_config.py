"""What the settings make of Beaker, found with Beaker's own parser, and what the application's code
asks of it.
"""

from __future__ import annotations

import ast
import hashlib
import os
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.errors import NotMeasured

Regions = Mapping[str, Mapping[str, Any]]


def options(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the cache settings in the order in which TurboGears2 hands them to Beaker.

    TurboGears2 puts ``cache.data_dir`` last where it is not set, and Beaker takes ``cache.`` and
    ``beaker.cache.`` for the same prefix: the later one wins, so that ``beaker.cache.data_dir`` has
    no effect.
    """
    found = {"cache.enabled": "true"}
    found.update(
        (key, value)
        for key, value in settings.items()
        if key.startswith(("beaker.cache.", "cache."))
    )
    if settings.get("cache_dir"):
        found.setdefault("cache.data_dir", os.path.join(settings["cache_dir"], "cache"))
    return found


def regions(settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Parse the regions as the application will. Raises ValueError with Beaker's words for what it
    refuses.
    """
    from beaker.util import parse_cache_config_options

    try:
        parsed = parse_cache_config_options(options(settings))
    except Exception as error:  # Beaker raises nothing more exact.
        raise ValueError(str(error)) from None
    found: dict[str, dict[str, Any]] = parsed.get("cache_regions", {})
    return found


def accepted_options(type: str) -> Optional[frozenset[str]]:
    """Return the options that Beaker's backend `type` knows, or None where there is no such
    backend.

    Raises NotMeasured with Beaker's words where the backend needs something that is not installed.
    """
    import inspect

    from beaker.cache import clsmap
    from beaker.exceptions import InvalidCacheBackendError

    try:
        backend: Any = clsmap[type]
    except KeyError:
        return None
    try:
        backend._init_dependencies()
    except InvalidCacheBackendError as error:
        raise NotMeasured(str(error)) from None
    names = {
        name for kind in backend.__mro__ for name in inspect.signature(kind.__init__).parameters
    }
    return frozenset(
        names | {"data_dir", "lock_dir", "type", "enabled", "expire", "key_length", "expiretime"}
    )


def session_directory(settings: Mapping[str, str]) -> Optional[str]:
    """Return where session files go, or None where sessions are not files.

    TurboGears2 takes ``cache_dir``/sessions by default, and Beaker takes files where a directory is
    known.
    """
    directory = settings.get("session.data_dir") or (
        os.path.join(settings["cache_dir"], "sessions") if settings.get("cache_dir") else None
    )
    return directory if session_type(settings) == "file" else None


def session_type(settings: Mapping[str, str]) -> str:
    """Return the storage of sessions as Beaker chooses it."""
    if settings.get("session.type"):
        return settings["session.type"]
    return "file" if settings.get("session.data_dir") or settings.get("cache_dir") else "memory"


@dataclass(frozen=True)
class Use:
    """A function that caches its result in a region."""

    region: str
    function: str
    namespace: str

    def file(self, data_dir: str) -> str:
        """Return the path of its namespace in Beaker's file backend."""
        name = hashlib.sha1(self.namespace.encode("utf-8")).hexdigest()
        return os.path.join(data_dir, "container_file", name[0], name[:2], name + ".cache")


def uses(package_directory: str) -> list[Use]:
    """Find every function below `package_directory` that is decorated with ``cache_region("...")``.

    The source is parsed, not imported.
    """
    found: list[Use] = []
    for folder, folders, names in os.walk(package_directory):
        folders[:] = [
            name for name in folders if name not in ("tests", "public", "i18n", "__pycache__")
        ]
        for name in names:
            if name.endswith(".py"):
                found += _uses_in(os.path.join(folder, name))
    return sorted(found, key=lambda use: (use.region, use.function))


def _uses_in(path: str) -> Iterator[Use]:
    with open(path, encoding="utf-8", errors="replace") as file:
        source = file.read()
    if "cache_region(" not in source:
        return
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return  # What does not compile does not cache.
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            called = decorator.func if isinstance(decorator, ast.Call) else None
            name = getattr(called, "id", getattr(called, "attr", ""))
            first = decorator.args[0] if name == "cache_region" and decorator.args else None
            region = getattr(first, "value", getattr(first, "s", None))
            if isinstance(region, str):
                # Beaker names the namespace of a function after its source file and its name.
                yield Use(region, node.name, f"{path}|{node.name}")  # type: ignore[attr-defined]


def package_directory(use: str) -> str:
    """Return the directory of the package behind ``egg:name``, without importing the application.

    Raises NotMeasured for any other kind of factory, and where nothing of that name is installed.
    """
    import importlib.util
    from importlib import metadata

    scheme, _, rest = use.partition(":")
    distribution = rest.partition("#")[0]
    if scheme != "egg" or not distribution:
        raise NotMeasured(f"the application's code is not found from use = {use}")
    try:
        points = [
            point
            for point in metadata.distribution(distribution).entry_points
            if point.group == "paste.app_factory"
        ]
    except metadata.PackageNotFoundError:
        raise NotMeasured(f"{distribution} is not installed here") from None
    package = (points[0].value if points else distribution).partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotMeasured(f"the package {package} is not installed here")
    return next(iter(spec.submodule_search_locations))
