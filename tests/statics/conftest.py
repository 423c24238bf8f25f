"""A small application's public directory, and a function that publishes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from kallithea_tune.probes.static_export import damaged
from kallithea_tune.probes.static_files import collect
from kallithea_tune.release import Recipe
from kallithea_tune.statics import destination, publish
from kallithea_tune.statics.plan import Plan, Served, make


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The public directory of an application."""
    root = tmp_path / "app" / "public"
    for path, text in (("css/style.css", "a {}\n" * 500), ("js/base.js", "var a;\n" * 500), ("LICENSES.txt", "short")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def planned(public: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Plan a release of `version`, its recipe given by keywords."""

    def call(version: str = "1", overlays: Any = (), place: Any = None, left_out: Any = (), **recipe: Any) -> Plan:
        place = place or tmp_path / "www" / "static"
        (tmp_path / "www").mkdir(exist_ok=True)
        before = destination.published(str(place))
        destination.check_apart(str(place), [str(public)])
        files = collect([str(public), *map(str, overlays)], before.sources if before else {})
        kept = {path: file for path, file in files.items() if path not in left_out}
        served = Served("app", version, (str(public),), kept, left_out)
        return make(before, served, Recipe(**recipe), damaged(before, str(place)) if before else [])

    return call


@pytest.fixture
def export(planned: Callable[..., Plan], tmp_path: Path) -> Callable[..., Any]:
    """Publish a release, planned with the same words; return its place and the plan."""

    def call(*words: Any, place: Any = None, **named: Any) -> Any:
        place = place or tmp_path / "www" / "static"
        todo = planned(*words, place=place, **named)
        if not todo.nothing:
            publish.carry_out(todo, str(place))
        return place, todo

    return call
