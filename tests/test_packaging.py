"""What pip, an archive of the sources and ``man`` make of this repository."""

from __future__ import annotations

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Iterable

import pytest

from kallithea_tune import __version__

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {"perf-check", "db-migrate", "static-export"}
MAN_PAGES = {f"gearbox-{command}.1" for command in COMMANDS}
# What running and building leaves behind, as in .gitignore.
LEFT_BEHIND = {"build", "dist", "demo-instance", "_build", "__pycache__"}


def run(*words: object, cwd: Path = ROOT, **variables: str) -> str:
    result = subprocess.run(
        list(map(str, words)),
        cwd=str(cwd),
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def no_source(directory: str, names: Iterable[str]) -> set[str]:
    """Of the `names` in `directory`, those that are no part of the sources; for copytree."""
    kept = {".ci", ".editorconfig", ".gitignore", ".pre-commit-config.yaml"}
    generated = Path(directory) == ROOT / "docs" / "checks"
    return {
        name
        for name in names
        if name in LEFT_BEHIND
        or name.endswith((".egg-info", ".pyc"))
        or (name.startswith(".") and name not in kept)
        or (generated and name != "index.rst")
        or (Path(directory) == ROOT and name == "PKG-INFO")
    }


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository without what running it leaves behind."""
    copy = tmp_path_factory.mktemp("package") / "sources"
    shutil.copytree(str(ROOT), str(copy), ignore=no_source)
    return copy


@pytest.fixture(scope="module")
def archive(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> "tuple[set[str], Path]":
    """What was in the sources, and the archive that was made when much lay around in them."""
    there = files_below(sources)
    for name in (
        ".venv/lib/x.py",
        "build/lib/x.py",
        "demo-instance/my.ini",
        "docs/_build/html/index.html",
        "docs/checks/STO001.rst",
        "kallithea_tune/__pycache__/x.cpython-38.pyc",
        "tests/.hypothesis/examples/x",
        "tests/.pytest_cache/CACHEDIR.TAG",
        "tests/cli/__pycache__/x.cpython-38.pyc",
    ):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text("left behind\n")
    directory = tmp_path_factory.mktemp("archive")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(directory)!r})"
    run(sys.executable, "-c", code, cwd=sources)
    (path,) = directory.iterdir()
    return there, path


@pytest.mark.slow
def test_the_setuptools_of_kallitheas_pins_installs_all_of_it(
    sources: Path, tmp_path: Path
) -> None:
    # On the older Python it is one that reads nothing of [project] in pyproject.toml.
    assert (metadata.version("setuptools") < "58") is (sys.version_info < (3, 10))
    copy = tmp_path / "sources"
    shutil.copytree(str(sources), str(copy), ignore=no_source)
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check")
    run(*pip, "--no-build-isolation", "--no-deps", "-w", tmp_path, copy)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"kallithea_tune-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(str(wheel)) as opened:
        names = set(opened.namelist())
        points = configparser.ConfigParser()
        info = f"kallithea_tune-{__version__}.dist-info"
        points.read_string(opened.read(f"{info}/entry_points.txt").decode())
        described = opened.read(f"{info}/METADATA").decode()
    package = {f"kallithea_tune/{name}" for name in files_below(copy / "kallithea_tune")}
    data = f"kallithea_tune-{__version__}.data/data/share/man/man1"
    assert {name for name in names if not name.startswith(info)} == {
        *package,
        *(f"{data}/{page}" for page in MAN_PAGES),
    }
    assert {"kallithea_tune/py.typed", "kallithea_tune/perf_check/storage/STO001.rst"} < names
    assert any(name.endswith("LICENSE") for name in names)
    assert set(points["gearbox.commands"]) == COMMANDS
    assert "\nLicense: GPL-3.0-or-later\n" in described and "measured, not believed" in described


@pytest.mark.slow
def test_an_archive_has_all_sources_and_nothing_that_was_left_behind(
    archive: "tuple[set[str], Path]",
) -> None:
    there, path = archive
    with tarfile.open(str(path)) as opened:
        names = {one.name.partition("/")[2] for one in opened.getmembers() if one.isfile()}
    assert {name for name in names if ".egg-info/" not in name} - {"PKG-INFO"} == there
    assert {"tests/test_packaging.py", "tools/suite.py", ".ci/run", "LICENSE"} < names


@pytest.mark.slow
def test_what_an_archive_holds_runs_its_own_tests(
    archive: "tuple[set[str], Path]", tmp_path: Path
) -> None:
    with tarfile.open(str(archive[1])) as opened:
        opened.extractall(str(tmp_path))
    (unpacked,) = tmp_path.iterdir()
    tests = ("tests/test_text.py", "tests/test_docs.py", "tests/perf_check/test_model.py")
    said = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests),
        cwd=unpacked,
        PYTHONPATH=str(unpacked),
    )
    assert " passed" in said


def test_the_package_says_its_version_and_how_to_run_the_commands() -> None:
    module = (sys.executable, "-m", "kallithea_tune")
    assert run(*module, "--version") == f"kallithea-tune {__version__}\n"
    said = run(*module)
    assert all(f"gearbox {command} -c my.ini" in said for command in COMMANDS)
    code = (
        "import sys, runpy; sys.argv[1:] = ['--version']\n"
        "try: runpy.run_module('kallithea_tune')\n"
        "finally: print(*(name for name in sys.modules if name.startswith('kallithea')))"
    )
    assert run(sys.executable, "-c", code).split() == ["kallithea_tune"]


def test_the_manual_pages_are_what_the_options_say() -> None:
    spec = importlib.util.spec_from_file_location("man_pages", str(ROOT / "tools/man_pages.py"))
    assert spec and spec.loader
    man_pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(man_pages)
    written = {path.name: path.read_text() for path in man_pages.DIRECTORY.iterdir()}
    assert written == dict(man_pages.pages()), "run python tools/man_pages.py"
    assert set(written) == MAN_PAGES


@pytest.mark.parametrize("page", sorted(MAN_PAGES))
@pytest.mark.once
def test_man_and_mandoc_have_nothing_to_say_of_a_manual_page(page: str) -> None:
    path = ROOT / "docs" / "man" / page
    shown = run("man", "--warnings", "-l", path, LC_ALL="C.UTF-8", MANWIDTH="80", PAGER="cat")
    assert shown.startswith("GEARBOX-") and str(path) not in shown
    assert "--config INI" in shown and "KALLITHEA_INI" in shown
    assert run("mandoc", "-T", "lint", "-W", "style", path) == ""
