"""A small application's public directory, a function that publishes it, and real Kallitheas behind
web servers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from servers.application import BIN, QUIET, Kallithea, instance_for_traffic, run
from servers.server import running
from servers.visitor import Visitor
from servers.web import Application, WebServer

from kallithea_tune.static_export.release import destination, publish
from kallithea_tune.static_export.release.freshness import damaged
from kallithea_tune.static_export.release.manifest import Recipe
from kallithea_tune.static_export.release.plan import Plan, Served, make
from kallithea_tune.static_export.sources.collect import collect


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The public directory of an application."""
    root = tmp_path / "app" / "public"
    for path, text in (
        ("css/style.css", "a {}\n" * 500),
        ("js/base.js", "var a;\n" * 500),
        ("LICENSES.txt", "short"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def planned(public: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Plan a release of `version`, its recipe given by keywords."""

    def call(
        version: str = "1", overlays: Any = (), place: Any = None, left_out: Any = (), **recipe: Any
    ) -> Plan:
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
        if not todo.is_empty:
            publish.publish(todo, str(place))
        return place, todo

    return call


@pytest.fixture(scope="session")
def programs() -> Callable[..., str]:
    """The function that runs hg, git and others."""
    return run


@pytest.fixture(scope="session", params=["", "/hosted"], ids=["root", "prefix"])
def kallithea(
    request: Any, pristine: Path, built: Path, tmp_path_factory: Any
) -> Iterator[Kallithea]:
    """A real Kallithea that serves no files itself, with a pull request; its path in front of all
    is `prefix`.
    """
    ini = instance_for_traffic(
        pristine, tmp_path_factory.mktemp("served") / "instance", request.param
    )
    server = Kallithea(ini, built)
    server.prefix = request.param
    try:
        server.start()
        person = Visitor("http://127.0.0.1:%d%s" % (server.port, request.param))
        person.log_in()
        server.pull_request = person.open_pull_request("hg-one", "feature")
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def static_export(built: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the command with the built front-end."""
    environment = {
        **QUIET,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(built), os.environ.get("PYTHONPATH")])),
    }

    def call(*words: Any, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(BIN / "gearbox"), "static-export", *map(str, words)],
            cwd=str(built),
            env={**environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=300,
        )

    return call


@pytest.fixture(scope="session")
def exported(pristine: Path, static_export: Any) -> Iterator[Path]:
    """Where the files of the built front-end are published, for every web server of the session."""
    directory = Path(tempfile.mkdtemp(prefix="kallithea-tune-test-"))
    directory.chmod(0o755)
    result = static_export("-c", pristine / "my.ini", directory / "static")
    assert result.returncode == 0, result.stderr
    yield directory / "static"
    shutil.rmtree(str(directory), ignore_errors=True)


@pytest.fixture
def web_server(static_export: Any, exported: Path) -> Iterator[Callable[..., WebServer]]:
    """Start a web server with the configuration that the command writes for it; `change` may spoil
    that before.
    """
    started = []

    def call(
        name: str, ini: Path, *words: Any, change: Callable[[str], str] = str, **more: Any
    ) -> WebServer:
        server = WebServer(name)
        started.append(server)
        vars(server).update(more)
        result = static_export(
            "-c",
            ini,
            exported,
            "--server",
            name,
            "-o",
            server.conf,
            "--server-name",
            "localhost",
            "--port",
            server.port,
            *words,
        )
        assert result.returncode == 0, result.stderr
        server.conf.write_text(change(server.conf.read_text()))
        server.configured()
        server.start()
        return server

    yield call
    for server in reversed(started):
        server.remove()


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    """An application to proxy to, which says what it got."""
    yield from running(Application())


@pytest.fixture(scope="module")
def second() -> Iterator[Application]:
    """Another one, to tell from the first."""
    yield from running(Application())
