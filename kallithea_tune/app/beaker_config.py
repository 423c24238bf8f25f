"""How the settings configure Beaker, by Beaker's own parser, and what the code uses it for."""

from __future__ import annotations

import ast
import hashlib
import os
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping, Optional

from kallithea_tune.app.package import sources
from kallithea_tune.errors import NotMeasured

Regions = Mapping[str, Mapping[str, Any]]


def options(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the cache settings in the order in which TurboGears2 passes them to Beaker.

    TurboGears2 adds a missing ``cache.data_dir`` at the end, and to Beaker ``cache.`` and
    ``beaker.cache.`` are the same prefix: the later one wins, so ``beaker.cache.data_dir`` has no
    effect.
    """
    merged = {"cache.enabled": "true"}
    merged.update(
        (key, value)
        for key, value in settings.items()
        if key.startswith(("beaker.cache.", "cache."))
    )
    if settings.get("cache_dir"):
        merged.setdefault("cache.data_dir", os.path.join(settings["cache_dir"], "cache"))
    return merged


def regions(settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Parse the regions as the application will. Raises ValueError with Beaker's message."""
    from beaker.util import parse_cache_config_options

    try:
        parsed = parse_cache_config_options(options(settings))
    except Exception as error:  # Beaker raises nothing more exact.
        raise ValueError(str(error)) from None
    by_name: dict[str, dict[str, Any]] = parsed.get("cache_regions", {})
    return by_name


def accepted_options(type: str) -> Optional[frozenset[str]]:
    """Return the options of Beaker's backend `type`, or None where there is no such backend.

    Raises NotMeasured with Beaker's message where it needs something that is not installed.
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
    """Return the directory of session files, or None where sessions are stored elsewhere.

    TurboGears2's default is ``cache_dir``/sessions; Beaker uses files where it has a directory.
    """
    directory = settings.get("session.data_dir") or (
        os.path.join(settings["cache_dir"], "sessions") if settings.get("cache_dir") else None
    )
    return directory if session_type(settings) in ("file", "dbm") else None


def session_type(settings: Mapping[str, str]) -> str:
    """Return the storage of sessions as Beaker chooses it."""
    if settings.get("session.type"):
        return settings["session.type"]
    return "file" if settings.get("session.data_dir") or settings.get("cache_dir") else "memory"


@dataclass(frozen=True)
class Use:
    """A function whose results are cached in a region."""

    region: str
    function: str
    namespace: str

    def file(self, data_dir: str) -> str:
        """Return the path of its namespace in Beaker's file backend."""
        name = hashlib.sha1(self.namespace.encode("utf-8")).hexdigest()
        return os.path.join(data_dir, "container_file", name[0], name[:2], name + ".cache")


def uses(code: Iterable[str]) -> list[Use]:
    """Return every function in `code` (see `package`) decorated with ``cache_region("...")``.

    The source is parsed, not imported.
    """
    decorated = (use for path in sources(code) for use in _uses_in(path))
    return sorted(decorated, key=lambda use: (use.region, use.function))


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
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for region in filter(None, map(_region_of, node.decorator_list)):
                # Beaker names the namespace of a function after its source file and its name.
                yield Use(region, node.name, f"{path}|{node.name}")


def _region_of(decorator: ast.expr) -> str:
    """Return the region of ``cache_region("...")``, empty for any other decorator."""
    if not isinstance(decorator, ast.Call) or not decorator.args:
        return ""
    name = getattr(decorator.func, "id", getattr(decorator.func, "attr", ""))
    region = getattr(decorator.args[0], "value", None)
    return region if name == "cache_region" and isinstance(region, str) else ""
