"""Nothing that lies in the working directory is executed, whatever refers to it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import kallithea_tune
from kallithea_tune.app import visit
from kallithea_tune.config.instance import absolute_url, load
from kallithea_tune.system import child, programs

PACKAGE = Path(kallithea_tune.__file__).parent
STARTING = ("subprocess", "multiprocessing", "pty", "asyncio", "commands", "popen2")
STARTING_OS = ("exec", "spawn", "posix_spawn", "popen", "system", "fork", "startfile")
# The one place for each; the load of perf-check only forks the process that runs it.
ALLOWED = {
    ("system/programs.py", "subprocess"),
    ("system/bootstrap.py", "os.execv"),
    ("perf_check/database/load.py", "multiprocessing"),
    # A copy of this process, which executes nothing.
    ("system/forked.py", "os.fork"),
    ("system/forked.py", "multiprocessing"),
    # Copies that contend for a lock, and execute nothing either.
    ("perf_check/scaling/contention.py", "os.fork"),
}
PROBE = """
import os, sys
from typing import Any
from kallithea_tune.system import programs

def modules() -> Any: return sorted(sys.modules)
def surroundings() -> Any:
    return {"path": sys.path, "directory": os.getcwd(), "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ["PYTHONPATH"], "variables": sorted(os.environ)}
def git() -> Any: return programs.run(["git", "--version"], 60).output.decode()
"""
# Importing one leaves its name, and so does running a program.
HOSTILE = "import os; open({mark!r}, 'a').write(__file__ + chr(10)); raise ImportError('hostile')\n"
PROGRAM = "#!/bin/sh\necho $0 >> {mark}\nexit 7\n"


def starters(path: Path) -> Iterator[str]:
    """What a file uses that starts processes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "os":
                names = [f"os.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "os":
            names = [f"os.{node.attr}"]
        else:
            continue
        for name in names:
            root, _, rest = name.partition(".")
            if root in STARTING or root == "os" and rest.startswith(STARTING_OS):
                yield root if root in STARTING else name


def test_processes_are_started_in_one_place() -> None:
    used = {
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        for name in starters(path)
    }
    assert used == ALLOWED


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Functions for a child, in a module that lies where PYTHONPATH has it."""
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "execution_probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(str(tmp_path / "toys"))
    path = [str(tmp_path / "toys"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    import execution_probe  # type: ignore[import-not-found]

    yield execution_probe
    del sys.modules["execution_probe"]


@pytest.fixture
def hostile(instance: Path, probe: Any, tmp_path: Path) -> Callable[[], list[str]]:
    """Work in a directory with all that a child imports and runs; returns what was executed."""
    request = visit.Request("/", prepare=probe.modules)
    (answer,) = visit.visit(load(str(instance)), [request], 120).answers
    names = {str(name).partition(".")[0] for name in answer.result_of(probe.modules)}
    assert {"kallithea", "tg", "select", "json", "kallithea_tune"} <= names
    names |= {
        "sitecustomize",
        "usercustomize",
        "celeryconfig",
        "psutil",
        "whoosh",
        "multiprocessing",
    }
    place, mark = tmp_path / "hostile", str(tmp_path / "executed")
    place.mkdir()
    for name in names:
        (place / f"{name}.py").write_text(HOSTILE.format(mark=mark))
    (place / "here.pth").write_text(HOSTILE.format(mark=mark))
    for name in (
        "git",
        "hg",
        "python",
        "nginx",
        "apache2",
        "caddy",
        "lighttpd",
        "haproxy",
        "sh",
        "stranger",
    ):
        (place / name).write_text(PROGRAM.format(mark=mark))
        (place / name).chmod(0o755)

    def executed() -> list[str]:
        return Path(mark).read_text().splitlines() if os.path.exists(mark) else []

    return executed


def test_the_commands_execute_nothing_of_the_working_directory(
    hostile: Callable[[], list[str]],
    gearbox: Callable[..., "subprocess.CompletedProcess[str]"],
    instance: Path,
    front_end: Path,
    tmp_path: Path,
) -> None:
    place = tmp_path / "hostile"
    startup = str(place / "select.py")
    variables = {"PATH": ":." + os.pathsep + os.environ["PATH"], "PYTHONSTARTUP": startup}
    options = {"cwd": str(place), "env": {**os.environ, **variables, "PYTHONINSPECT": ""}}
    checked = gearbox("perf-check", "-c", instance, "--budget", "40", "-f", "json", **options)
    assert checked.returncode in (0, 1, 5) and "does not start" not in checked.stdout
    assert "hostile" not in checked.stdout + checked.stderr
    words = ["-c", instance, "--switch", "-n", tmp_path / "static", "--overlay", front_end]
    exported = gearbox("static-export", *words, **options)
    migrated = gearbox(
        "db-migrate", "-c", instance, "--to", f"sqlite:///{tmp_path}/target.db", **options
    )
    assert exported.returncode == 0 and " files" in exported.stderr, exported.stderr
    assert migrated.returncode == 0, migrated.stderr
    assert hostile() == []


def test_children_and_programs_have_nothing_relative_on_their_paths(
    probe: Any, hostile: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "hostile")
    given = os.environ["PYTHONPATH"].split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", *given, "lib", "~/lib"]))
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "../hostile", os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONSTARTUP", "select.py")
    seen = child.call(probe.surroundings, 60)
    assert seen["directory"] == "/" and seen["PYTHONPATH"].split(os.pathsep) == given
    # An editable install has an entry there that is the name of its finder, and no directory.
    imports = [item for item in seen["path"] if not item.startswith("__editable__")]
    for path in (imports, seen["PATH"].split(os.pathsep)):
        assert path and all(map(os.path.isabs, path))
        assert not any(str(tmp_path / "hostile") in item for item in path)
    assert not any("site-packages" in item and "/.local/" in item for item in seen["path"])
    assert "PYTHONSTARTUP" not in seen["variables"]
    assert child.call(probe.git, 60).startswith("git version")
    assert programs.run(["git", "--version"], 60).output.startswith(b"git version")
    assert programs.run(["pwd"], 60).output == b"/\n"
    monkeypatch.setenv("PATH", ":.")
    assert programs.program("stranger") is None and hostile() == []
    with pytest.raises(FileNotFoundError):
        programs.run(["./git", "--version"], 60)


def test_a_relative_sqlite_file_is_found_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_url("sqlite:///a/b.db?timeout=3") == f"sqlite:///{tmp_path}/a/b.db?timeout=3"
    assert absolute_url("sqlite:///file:b.db?uri=1") == f"sqlite:///file:{tmp_path}/b.db?uri=1"
    for url in (
        "sqlite:////a/b.db",
        "sqlite:///:memory:",
        "sqlite://",
        "sqlite:///file:/b.db?uri=true",
        "postgresql:///kallithea",
        "",
    ):
        assert absolute_url(url) == url
