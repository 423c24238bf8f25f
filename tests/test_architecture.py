"""Imports run one way, and only the application's own room knows Kallithea."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

from environment import BIN

import kallithea_tune

PACKAGE = Path(kallithea_tune.__file__).parent
DOMAINS = frozenset({"perf_check", "static_export", "db_migrate"})
# What each room may import besides itself, and the modules at the root, which import one another
# only.
BELOW = {
    "system": frozenset(),
    "config": frozenset({"system"}),
    "db": frozenset({"system", "config"}),
    "app": frozenset({"system", "config", "db"}),
    **dict.fromkeys(DOMAINS, frozenset({"system", "config", "db", "app"})),
    "cli": DOMAINS | {"system", "config", "db", "app"},
}
# What perf_check reads of an export: whether it is stale.
EXCEPTIONS = frozenset(
    ("perf_check", f"kallithea_tune.static_export.{module}") for module in ("manifest", "freshness")
)


def room_of(path: Path) -> str:
    """The room of the package that a file belongs to, empty for the root."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(path: Path) -> Iterator[str]:
    """The full names of all that a file imports, at any depth, and whatever it resolves by
    ``module:name``.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("kallithea_tune."):
            yield str(node.value)


def test_imports_run_one_way() -> None:
    wrong, seen = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path)
        for name in imported(path):
            root, _, rest = name.partition(".")
            target = rest.split(".")[0].split(":")[0]
            if root != "kallithea_tune" or target not in BELOW:
                continue
            seen.add((room, target))
            module = ".".join(name.split(":")[0].split(".")[:3])
            if target == room or (room, module) in EXCEPTIONS:
                continue
            if target not in BELOW.get(room, frozenset()):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []
    # Where nothing was found there was nothing to judge.
    assert {("cli", "perf_check"), ("cli", "db_migrate"), ("perf_check", "app")} <= seen


def test_only_the_application_and_measurements_in_children_know_kallithea() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] == "kallithea" and room_of(path) != "app"
    ]
    assert wrong == []


A_CHECK = '''

@check("WEB099", "serving-toy", "A toy", "serving", tags=("toy",))
def toy(context: Context) -> Iterator[Finding]:
    """Say that a toy was added, and nothing else was touched."""
    yield Finding(Severity.advice, "a toy was added", remedy="take it out")
'''


def test_a_check_is_one_function_in_the_file_of_its_area_and_a_page(
    instance: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(
        str(PACKAGE), str(source / "kallithea_tune"), ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(str(PACKAGE.parent / "docs" / "checks"), str(source / "docs" / "checks"))
    shutil.copy(str(PACKAGE.parent / "tests" / "test_docs.py"), str(source / "test_docs.py"))
    with (source / "kallithea_tune" / "checks" / "serving.py").open("a") as file:
        file.write(A_CHECK)

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
    check_docs = (
        "import pathlib, test_docs as t; t.PAGES = pathlib.Path('docs/checks'); "
        "t.test_every_check_has_its_page_and_every_page_its_check(); t.test_every_page_is_headed_by_its_id()"
    )
    assert run("python", "-c", check_docs).returncode == 1
    page = "==============\nWEB099: a toy\n==============\n"
    (source / "docs" / "checks" / "WEB099.rst").write_text(page)
    assert run("python", "-c", check_docs).returncode == 0
    index = (source / "docs" / "checks" / "index.rst").read_text()
    assert ":glob:" in index, "a page must be found without being named"
