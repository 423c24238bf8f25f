"""The real things the tests run against, each made once for a session."""

from __future__ import annotations

import datetime
import importlib.util
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import cache
import pytest
from environment import BIN
from servers.server import running

ROOT = Path(__file__).resolve().parents[1]
# What a unit test does without; `target` and `server` choose a database server only when they are
# set up, `mysql` is what some tests call MariaDB.
HEAVY = frozenset(
    {
        "pristine",
        "postgresql",
        "mariadb",
        "rabbitmq",
        "redis",
        "target",
        "server",
        "mysql",
        "built",
        "application",
        "second",
    }
)
SERVED = ROOT / "tests" / "static_export" / "served"
# What servers, disks and files do there is the same on both Pythons, as are SQLAlchemy, Beaker and
# Kallithea,
SAME = frozenset(
    ROOT / "tests" / path
    for path in (
        "cli/test_perf_check_try.py",
        "cli/test_static_export.py",
        "db_migrate",
        "perf_check/caching",
        "perf_check/database",
        "perf_check/serving/test_page_times_checks.py",
        "perf_check/serving/test_transfers_checks.py",
        "perf_check/storage",
        "security/test_limits.py",
        "security/test_owner.py",
        "security/test_written_paths_of_commands.py",
        "static_export",
    )
)
# but for values that pass through drivers, sqlite3 and pickle.
DIFFERENT = frozenset(
    f"test_{name}.py"
    for name in (
        "beaker_files",
        "beaker_files_checks",
        "database_server",
        "engines",
        "round_trip",
        "session_settings",
        "sqlite_checks",
        "storage_form",
        "stores_checks",
        "switch",
        "to_mysql",
        "to_postgresql",
        "utf16",
        "verified_run",
        "verify",
        "violation_sql",
    )
)
LOG_ROWS = 500  # of the instance, the last of them of today


def pytest_configure() -> None:
    """Have Ctrl-C arrive at what the tests start, although a shell's "&" would have them all ignore
    it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # The same with nohup, which stays so for pytest itself: what is started gets the default
        # for what is handled.
        signal.signal(signal.SIGHUP, lambda number, frame: None)


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """Mark `unit` the tests that use none of what takes long to have, and `once` those of servers.

    What web servers do with our configuration does not depend on our Python.
    """
    for item in items:
        if SERVED in item.path.parents:
            item.add_marker("once")
        used = set(getattr(item, "fixturenames", ()))
        if "request" in used and hasattr(item, "callspec"):
            # It asks for fixtures by name.
            used.update(value for value in item.callspec.params.values() if isinstance(value, str))
        if not used & HEAVY and not any(
            item.get_closest_marker(name) for name in ("once", "alone", "slow")
        ):
            item.add_marker("unit")
        elif SAME & {item.path, *item.path.parents} and item.path.name not in DIFFERENT:
            item.add_marker("once")


def pytest_make_parametrize_id(val: object) -> Optional[str]:
    """Name long bytes, random ones among them, by their length: all workers have to give a test the
    same name.
    """
    return "%d-bytes" % len(val) if isinstance(val, bytes) and len(val) > 40 else None


@pytest.fixture(scope="session")
def make_instance() -> Any:
    """The module that makes a real Kallithea."""
    spec = importlib.util.spec_from_file_location(
        "make_instance", str(ROOT / "tools" / "make_instance.py")
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pristine(make_instance: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real instance that no test may change; returns its directory."""
    directory = tmp_path_factory.mktemp("pristine") / "instance"
    made_by = [Path(make_instance.__file__), Path(cache.__file__)]
    versions = [
        cache.installed(),
        cache.said("git", "--version"),
        LOG_ROWS,
        datetime.date.today().isoformat(),
    ]
    cache.copied(
        "instance",
        made_by,
        [str(version) for version in versions],
        lambda place: make_instance.make(place, log_rows=LOG_ROWS, front_end=False),
        directory,
    )
    _point(directory)
    return directory


@pytest.fixture
def instance(pristine: Path, tmp_path: Path) -> Path:
    """The ini file of a copy of the real instance, for one test to spoil."""
    return _copy(pristine, tmp_path / "instance")


def _copy(pristine: Path, directory: Path) -> Path:
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    _point(directory)
    return directory / "my.ini"


def _point(directory: Path) -> None:
    """Have a copy find its own repositories; nothing else in it names where it lies and matters."""
    import sqlite3

    with sqlite3.connect(str(directory / "kallithea.db")) as connection:
        connection.execute(
            "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(directory / "repos")]
        )
    connection.close()


@pytest.fixture(scope="session")
def visited(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance that was asked for some pages without a cookie; no test may change it. Returns
    its ini file.
    """
    import beaker_tools

    ini = _copy(pristine, tmp_path_factory.mktemp("visited") / "instance")
    beaker_tools.visit(ini, *beaker_tools.PAGES)
    return ini


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A private PostgreSQL server; a test that stops it starts it again."""
    from servers.postgresql import PostgreSQL

    yield from running(PostgreSQL())


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Any]:
    """A private MariaDB server; a test that stops it starts it again."""
    from servers.mariadb import MariaDB

    yield from running(MariaDB())


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Any]:
    """A private RabbitMQ."""
    from servers.rabbitmq import RabbitMQ

    yield from running(RabbitMQ())


@pytest.fixture(scope="session")
def redis() -> Iterator[Any]:
    """A private Redis."""
    from servers.redis import Redis

    yield from running(Redis())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A private Chromium."""
    from servers.browser import Browser

    yield from running(Browser())


@pytest.fixture
def gearbox() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the real gearbox as an admin would."""

    def call(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
        options.setdefault("timeout", 300)
        return subprocess.run(
            [str(BIN / "gearbox"), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            **options,
        )

    return call


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    """Replace text in an ini file; the text must be there."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text, f"{old!r} is not in {path}"
        path.write_text(text.replace(old, new))

    return replace


@pytest.fixture(scope="session")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with the front-end, where it is not built."""
    from front_end import make_overlay

    return make_overlay(tmp_path_factory.mktemp("front-end"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH: a copy of Kallithea with its front-end built, as an admin builds
    it.
    """
    import front_end

    return cache.copied(
        "front-end",
        [Path(front_end.__file__), Path(cache.__file__)],
        [cache.installed(), cache.said("npm", "--version")],
        front_end.build,
        tmp_path_factory.mktemp("front-end") / "built",
    )
