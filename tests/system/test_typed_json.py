"""What crosses the border between two processes arrives as what it was."""

from __future__ import annotations

import enum
import json
import sys
from dataclasses import dataclass
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

import pytest

from kallithea_tune.system import typed_json


class Colour(enum.Enum):
    red = 1


class Point(NamedTuple):
    x: int
    y: float


@dataclass(frozen=True)
class Shape:
    name: str
    colour: Colour
    points: tuple[Point, ...]
    pair: tuple[str, int]
    by_size: Mapping[int, Point]
    tags: frozenset[str]
    parent: Optional[Shape] = None
    steps: Sequence[Callable[..., Any]] = ()
    anything: Any = None


def test_nested_values_arrive_with_their_types() -> None:
    inner = Shape("inner", Colour.red, (), ("a", 1), {}, frozenset())
    shape = Shape(
        "outer",
        Colour.red,
        (Point(1, 2.5),),
        ("b", 2),
        {7: Point(3, 4.0)},
        frozenset({"x"}),
        inner,
        (typed_json.dump,),
        {"raw": [1, None]},
    )
    sent = json.loads(json.dumps(typed_json.dump(shape)))
    assert typed_json.load(Shape, sent) == shape
    assert type(typed_json.load(Point, sent["points"][0]).y) is float


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot be sent"):
        typed_json.dump({"a": object()})
    with pytest.raises(TypeError, match="function cannot be sent"):
        typed_json.dump(lambda: None)


def test_a_function_is_found_by_module_and_name() -> None:
    assert typed_json.resolve("sys:exit") is sys.exit
