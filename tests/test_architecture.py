"""Imports run one way, only `app` knows Kallithea, and a check is added in one place."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Iterator

import pytest
from environment import BIN

import kallithea_tune

PACKAGE = Path(kallithea_tune.__file__).parent
# perf-check compares a published export with the application.
EXCEPTIONS = {
    "kallithea_tune.static_export.release.manifest",
    "kallithea_tune.static_export.release.freshness",
}


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    """The tool that draws the rooms and knows their layers."""
    path = PACKAGE.parent / "tools" / "architecture_picture.py"
    spec = importlib.util.spec_from_file_location("architecture_picture", str(path))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported(path: Path) -> Iterator[str]:
    """The full names of all that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_run_one_way(drawing: ModuleType) -> None:
    level = {room: number for number, layer in enumerate(drawing.LAYERS) for room in layer}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(level)
    wrong, seen = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        # The modules at the root are below all rooms, but for what Celery loads: it is a command.
        room = "cli" if parts == ("fleet.py",) else parts[0]
        own = level.get(room, len(drawing.LAYERS))
        for name in imported(path):
            root, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if root != "kallithea_tune" or other not in level or other == room:
                continue
            seen.add((room, other))
            allowed = ".".join(name.split(".")[:4]) in EXCEPTIONS and room == "perf_check"
            if level[other] <= own and not allowed:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []
    # Where nothing was found there was nothing to judge.
    assert {("cli", "perf_check"), ("cli", "db_migrate"), ("perf_check", "app")} <= seen


def test_the_picture_shows_the_imports_as_they_are(drawing: ModuleType) -> None:
    drawn = (PACKAGE.parent / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == drawing.picture(), "run tools/architecture_picture.py"


def test_a_way_that_a_longer_one_replaces_is_not_drawn(drawing: ModuleType) -> None:
    edges = {("cli", "app"), ("cli", "perf_check"), ("perf_check", "app"), ("app", "system")}
    assert drawing.reduced(edges) == edges - {("cli", "app")}


def test_no_module_imports_kallithea_but_those_of_the_application() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] == "kallithea" and path.parent.name != "app"
    ]
    assert wrong == []


A_CHECK = '''

@check("WEB099", "serving-toy", "A toy", measures=(configuration,), tags=("toy",))
def toy(configuration: Configuration) -> Iterator[Finding]:
    """Say that a toy was added, and nothing else was touched."""
    yield Finding(Severity.advice, "a toy was added", remedy="take it out")
'''
THE_SAME_IN_A_NEW_FILE = (
    """
from typing import Iterator

from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Severity, check
"""
    + A_CHECK
)


def test_a_check_is_one_function_in_the_folder_of_its_area_and_a_page(
    instance: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(PACKAGE), str(source / "kallithea_tune"), ignore=ignored)
    shutil.copy(str(PACKAGE.parent / "tests" / "test_docs.py"), str(source / "test_docs.py"))
    area = source / "kallithea_tune" / "perf_check" / "serving"
    (area / "toy_checks.py").write_text(THE_SAME_IN_A_NEW_FILE)

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(BIN / str(words[0])), *map(str, words[1:])],
            cwd=str(source),
            env=dict(os.environ, PYTHONPATH=str(source)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )

    found = run("gearbox", "perf-check", "-c", instance, "--only", "toy", "--fail-on", "advice")
    assert found.returncode == 1 and "WEB099 advice: a toy was added" in found.stdout, found.stdout
    name = "test_every_check_has_its_page_beside_it_and_every_page_its_check"
    test = f"import test_docs; test_docs.{name}()"
    assert run("python", "-c", test).returncode == 1
    (area / "WEB099.rst").write_text("==============\nWEB099: a toy\n==============\n")
    assert run("python", "-c", test).returncode == 0
    assert "WEB099: a toy" in run("gearbox", "perf-check", "--explain", "WEB099").stdout
