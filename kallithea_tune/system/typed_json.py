"""Typed values as JSON and back, for the exchange between two processes.

JSON and not pickle: the other process has loaded an application, and what it sends must not be able
to run anything here.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import typing
from collections import abc
from typing import Any, Callable, Mapping, Union

# Python 3.8 cannot evaluate an annotation such as "tuple[int, ...]".
_GENERIC = {
    "dict": typing.Dict,
    "frozenset": typing.FrozenSet,
    "list": typing.List,
    "set": typing.Set,
    "tuple": typing.Tuple,
}


def dump(value: Any) -> Any:
    """Return `value` for json.dumps: dataclasses and named tuples as objects, enums by name.

    A module's function becomes ``module:name``. Raises TypeError for what JSON cannot represent.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: dump(getattr(value, name)) for name in names}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: dump(item) for name, item in value._asdict().items()}
    if isinstance(value, abc.Mapping):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [dump(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if callable(value) and "." not in value.__qualname__:
        return f"{value.__module__}:{value.__qualname__}"
    raise TypeError(f"{type(value).__name__} cannot be sent to another process")


def load(kind: Any, value: Any) -> Any:
    """Return a value of the type `kind` from json.loads' result; ``Any`` means unchanged.

    Raises TypeError or ValueError where it does not fit.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Union:
        if value is None and type(None) in arguments:
            return None
        (kind,) = (item for item in arguments if item is not type(None))
        return load(kind, value)
    if origin is abc.Callable:
        return resolve(value)
    if origin is tuple:
        if arguments[-1:] == (Ellipsis,):
            return tuple(load(arguments[0], item) for item in value)
        return tuple(load(item_kind, item) for item_kind, item in zip(arguments, value))
    if origin in (list, set, frozenset, abc.Sequence):
        items = (load(arguments[0], item) for item in value)
        return tuple(items) if origin is abc.Sequence else origin(items)
    if origin in (dict, abc.Mapping):
        return {load(arguments[0], key): load(arguments[1], item) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind[value]
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        kinds = hints(kind)
        return kind(**{name: load(kinds[name], item) for name, item in value.items()})
    if kind in (int, float) and isinstance(value, str):
        # Keys of a JSON object are always text.
        return kind(value)
    return float(value) if kind is float else value


@functools.lru_cache(maxsize=None)
def hints(annotated: Any) -> Mapping[str, Any]:
    """Return the annotated types of a function, a dataclass or a named tuple."""
    return typing.get_type_hints(annotated, localns=_GENERIC)


def resolve(name: str) -> Callable[..., Any]:
    """Return the function that ``module:name`` refers to."""
    module, _, function = name.partition(":")
    resolved: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return resolved
