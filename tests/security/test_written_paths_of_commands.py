"""The commands refuse a path before they do anything, and leave what is there as it is."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Callable

import pytest
from forked import gearbox
from mounted import run

from kallithea_tune.system import given_file


@pytest.fixture(scope="module")
def ini(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance that no test may change: each has what was refused, untouched."""
    directory = tmp_path_factory.mktemp("instance") / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    return directory / "my.ini"


def node(path: Path) -> Path:
    run("mknod", path, "c", 1, 3)
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(str(path))
    return path


def foreign(path: Path) -> Path:
    path.write_text("the admin's\nlast line, not ended")
    return path


def missing(path: Path) -> Path:
    return path / "missing"


def planted(path: Path) -> Path:
    path.parent.chmod(0o1777)
    path.symlink_to(path.parent / "new")
    run("chown", "-h", 65534, path)
    return path


UNSAFE = [(node, 3), (fifo, 3), (foreign, 3), (planted, 3), (missing, 2)]


def shape(directory: Path) -> "dict[str, tuple[object, ...]]":
    found = {}
    for path in sorted(directory.rglob("*")):
        status = os.lstat(str(path))
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_ino, status.st_rdev, content)
    return found


def refused(
    directories: "list[Path]", status: int, *words: object
) -> "subprocess.CompletedProcess[str]":
    before = [shape(directory) for directory in directories]
    done = gearbox(*words)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert [shape(directory) for directory in directories] == before
    return done


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("make, status", UNSAFE)
def test_db_migrate_keeps_originals_in_no_foreign_file(
    ini: Path, tmp_path: Path, make: Callable[[Path], Path], status: int
) -> None:
    path = make(tmp_path / "rows")
    words = ["--to", f"sqlite:///{tmp_path}/moved.db", "--fix", "nul=strip", "--quarantine", path]
    refused([tmp_path, ini.parent], status, "db-migrate", "-c", ini, *words)


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize(
    "other", ["my.ini", "kallithea.db-journal", "moved.db", "moved.db.kallithea-tune-part"]
)
def test_db_migrate_keeps_originals_in_no_file_that_it_uses(
    ini: Path, tmp_path: Path, other: str
) -> None:
    path = tmp_path / "link"
    path.symlink_to((tmp_path if other.startswith("moved") else ini.parent) / other)
    words = ["--to", f"sqlite:///{tmp_path}/moved.db", "--quarantine", path]
    refused([tmp_path, ini.parent], 3, "db-migrate", "-c", ini, *words)


@pytest.mark.timeout(60, func_only=True)
# Of a link as of a file, the owner would be the one to act as, who may not read the ini file here.
@pytest.mark.parametrize("make, status", [*UNSAFE[:3], (planted, 2), *UNSAFE[4:]])
def test_db_migrate_fills_no_foreign_file(
    ini: Path, tmp_path: Path, make: Callable[[Path], Path], status: int
) -> None:
    path = make(tmp_path / "moved.db")
    refused([tmp_path, ini.parent], status, "db-migrate", "-c", ini, "--to", f"sqlite:///{path}")


@pytest.mark.timeout(60, func_only=True)
def test_db_migrate_follows_no_link_in_the_place_of_its_unfinished_file(
    ini: Path, tmp_path: Path
) -> None:
    foreign(tmp_path / "outside")
    (tmp_path / "moved.db.kallithea-tune-part").symlink_to(tmp_path / "outside")
    refused([tmp_path], 3, "db-migrate", "-c", ini, "--to", f"sqlite:///{tmp_path}/moved.db")


@pytest.mark.timeout(60, func_only=True)
def test_a_switch_that_the_ini_file_does_not_allow_is_refused_before_the_copy(
    instance: Path, tmp_path: Path
) -> None:
    os.link(str(instance), str(tmp_path / "other.ini"))
    words = ["--to", f"sqlite:///{tmp_path}/moved.db", "--switch"]
    refused([tmp_path], 3, "db-migrate", "-c", instance, *words)
    refused([tmp_path], 3, "static-export", "-c", instance, tmp_path / "static", "--switch")


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("make, status", [(fifo, 2), *UNSAFE[2:]])
def test_perf_check_saves_into_no_foreign_file(
    ini: Path, tmp_path: Path, make: Callable[[Path], Path], status: int
) -> None:
    path = make(tmp_path / "run.json")
    refused([tmp_path], status, "perf-check", "-c", ini, "--save", path)
    refused([tmp_path, ini.parent], 3, "perf-check", "-c", ini, "--save", ini)


@pytest.mark.timeout(60, func_only=True)
def test_perf_check_writes_into_a_stream(ini: Path, tmp_path: Path) -> None:
    words = ["perf-check", "-c", ini, "--only", "WEB001", "--no-probes", "--save"]
    path = fifo(tmp_path / "fifo")
    reader = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK)
    before = shape(tmp_path)
    assert gearbox(*words, path).returncode == 0
    assert b'"checks"' in os.read(reader, 65536)
    os.close(reader)
    # The report is printed first; the same file is not replaced, and keeps it.
    with open(tmp_path / "out", "w+") as out:
        assert gearbox(*words, "/dev/stdout", stdout=out).returncode == 0
        said = (tmp_path / "out").read_text()
    assert said.index("1 check in") < said.index('"checks"')
    (tmp_path / "out").unlink()
    assert shape(tmp_path) == before


@pytest.mark.timeout(60, func_only=True)
def test_what_is_read_neither_hangs_nor_fills_the_memory(
    ini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_file, "WAIT", 0.2)
    silent, target = fifo(tmp_path / "silent"), f"sqlite:///{tmp_path}/moved.db"
    for path in (silent, Path("/dev/zero")):
        for words in (
            ["perf-check", "-c", ini, "--compare", path],
            ["db-migrate", "-c", ini, "--to", f"file:{path}"],
            ["db-migrate", "-c", path, "--to", target],
        ):
            done = refused([tmp_path], 2, *words)
            assert path == silent or "neither a file" in done.stderr or "regular" in done.stderr
    words = ["static-export", "-c", ini, tmp_path / "x", "--overlay", silent]
    assert refused([tmp_path], 2, *words)


@pytest.mark.timeout(60, func_only=True)
def test_a_pipe_is_read_to_its_end(ini: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"nothing://that.is.served\n")
    os.close(writer)
    done = gearbox("db-migrate", "-c", ini, "--to", f"file:/dev/fd/{reader}")
    os.close(reader)
    assert done.returncode == 2 and "cannot be read" not in done.stderr


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("make, status", [(fifo, 2), *UNSAFE[2:]])
def test_static_export_configures_no_foreign_file(
    ini: Path, tmp_path: Path, make: Callable[[Path], Path], status: int
) -> None:
    path = make(tmp_path / "site.conf")
    words = ["static-export", "-c", ini, tmp_path / "static", "--server"]
    refused([tmp_path], status, *words, "nginx", "-o", path)


@pytest.mark.timeout(60, func_only=True)
def test_static_export_configures_nothing_that_it_uses(ini: Path, tmp_path: Path) -> None:
    overlay, static = tmp_path / "overlay", tmp_path / "static"
    overlay.mkdir()
    words = ["static-export", "-c", ini, static, "--overlay", overlay, "--server", "lighttpd", "-o"]
    for path in (ini, static, f"{static}.releases/x", overlay / "site.conf"):
        done = gearbox(*words, path)
        assert done.returncode in (2, 3) and not static.exists(), done.stderr
    # The second file is examined as early as the first.
    foreign(tmp_path / "site.conf.lua")
    refused([tmp_path], 3, *words, tmp_path / "site.conf")


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("make, status", UNSAFE)
def test_static_export_publishes_in_no_foreign_place(
    ini: Path, tmp_path: Path, make: Callable[[Path], Path], status: int
) -> None:
    refused([tmp_path], status, "static-export", "-c", ini, make(tmp_path / "static"))


@pytest.mark.timeout(120)
def test_static_export_writes_into_streams_and_locks_no_foreign_file(
    ini: Path, front_end: Path, tmp_path: Path
) -> None:
    words = ["static-export", "-c", ini, tmp_path / "static", "--overlay", front_end]
    device = node(tmp_path / "null")
    # Nothing can be beside a stream, such as lighttpd's script.
    refused([tmp_path], 2, *words, "--server", "lighttpd", "-o", device)
    done = gearbox(*words, "--server", "nginx", "-o", device)
    assert done.returncode == 0, done.stderr
    assert device.is_char_device()
    with open(tmp_path / "out", "w+") as out:
        done = gearbox(*words, "--server", "nginx", "-o", "/dev/stdout", stdout=out)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text().startswith("# Written by gearbox static-export")
    lock = tmp_path / "static.releases" / ".lock"
    lock.unlink()
    lock.symlink_to(foreign(tmp_path / "outside"))
    refused([tmp_path], 3, *words, "--no-prune", "--keep", "3")
    assert (tmp_path / "outside").read_text().endswith("not ended")


@pytest.mark.parametrize("server", ["nginx", "apache", "caddy", "lighttpd", "haproxy"])
@pytest.mark.parametrize("snippet", [False, True])
def test_every_configuration_is_recognised_as_ours(server: str, snippet: bool) -> None:
    from kallithea_tune.static_export import generated_files
    from kallithea_tune.static_export.webservers import render, render_script
    from kallithea_tune.static_export.webservers.site import Backend, Site

    script = "/srv/x.lua" if server == "lighttpd" else ""
    site = Site("/srv/static", ["css"], [], [], [Backend("127.0.0.1", 5000)], script=script)
    texts = [render(server, site, snippet), render_script(server, site)]
    assert all(generated_files.OUTPUT.recognises(text.encode()) for text in texts if text)
