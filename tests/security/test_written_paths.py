"""Nothing of the admin's is destroyed: every kind of path, with every option that writes to one.

``python tests/security/test_written_paths.py`` prints the table of kinds and options.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import stat
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Optional, TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from mounted import run, tmpfs  # noqa: E402

from kallithea_tune.config import inifile  # noqa: E402
from kallithea_tune.db_migrate.quarantine import Quarantine  # noqa: E402
from kallithea_tune.db_migrate.target import Target  # noqa: E402
from kallithea_tune.errors import TuneError  # noqa: E402
from kallithea_tune.perf_check import history, saved_run  # noqa: E402
from kallithea_tune.perf_check.results import Place as Location  # noqa: E402
from kallithea_tune.perf_check.results import PlacedRun, Results  # noqa: E402
from kallithea_tune.perf_check.runner import Run  # noqa: E402
from kallithea_tune.static_export import generated_files  # noqa: E402
from kallithea_tune.static_export.release import destination
from kallithea_tune.system import written_path  # noqa: E402

NOBODY = 65534
RESULTS = Results((PlacedRun(Location("my.ini"), Run([], 1.0, checks=("NEW001",))),))
CONFIGURATION = "# Written by gearbox static-export. A site.\nlisten 80;\n"
ROW = '{"table": "users", "key": {"user_id": 1}, "fixes": [], "became": "changed", "row": {}}\n'


def save(path: str) -> None:
    place = written_path.examine(path, saved_run.OUTPUT)
    saved_run.save(RESULTS, place)


def keep(path: str) -> None:
    history.keep(RESULTS, history.place(path))


def output(path: str) -> None:
    generated_files.replace(written_path.examine(path, generated_files.OUTPUT), CONFIGURATION * 2)


def quarantine(path: str) -> None:
    made = Quarantine(path)
    made.prepare(resume=True)
    made._append([ROW.replace("1", "2").encode()])
    made.close()


def ini(path: str) -> None:
    inifile.write(inifile.plan(path, "a", {"b": "2"}))


def to(path: str) -> None:
    target = Target(f"sqlite:///{path}")
    try:
        target.stage()
        target.endpoint.connection.execute("CREATE TABLE moved (id int)")
        target.publish()
    finally:
        target.close()


def dest(path: str) -> None:
    destination.published(destination.absolute(path))


def database() -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        with contextlib.closing(sqlite3.connect(file.name)) as connection:
            connection.execute("CREATE TABLE old (id int)")
        return Path(file.name).read_bytes()


RUN = json.dumps({"format": 1, "checks": ["OLD001"], "findings": []}, indent=1).encode()


@dataclass(frozen=True)
class Option:
    """How an option writes, what it has written before, and what the file has afterwards."""

    write: Callable[[str], None]
    own: bytes
    other: bytes
    new: Callable[[bytes], bool]


OPTIONS = {
    "--save": Option(save, RUN, CONFIGURATION.encode(), lambda now: b"NEW001" in now),
    "-o": Option(output, CONFIGURATION.encode(), RUN, lambda now: now.count(b"Written") == 2),
    "--quarantine": Option(quarantine, ROW.encode(), RUN, lambda now: b'"user_id": 2}' in now),
    "--switch": Option(ini, b"[a]\nb = 1\n", RUN, lambda now: b"b = 2" in now),
    "--to": Option(to, database(), RUN, lambda now: b"moved" in now),
    "DEST": Option(dest, RUN, RUN, bytes.__len__),  # type: ignore[arg-type]
    "--history": Option(keep, RUN, RUN, lambda now: b"NEW001" in now),
}
CREATED, REPLACED, WRITTEN, USAGE, REFUSED, FAILED = "new", "ours", "stream", "2", "3", "4"
KEPT = "kept"
MEANING = {
    CREATED: "created",
    REPLACED: "written",
    WRITTEN: "as a stream",
    USAGE: "refused (2)",
    REFUSED: "refused (3)",
    FAILED: "no space (4)",
    "free": "usable",
    KEPT: "a file in it",
}


@dataclass
class Box:
    """A directory to put the path in; what the kind needs meanwhile; what a stream got."""

    directory: Path
    option: Option
    opened: contextlib.ExitStack
    received: Optional[Callable[[], bytes]] = None
    as_nobody: bool = False
    untouched: "list[Path]" = field(default_factory=list)

    def file(self, content: bytes, name: str = "file", mode: int = 0o640) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(mode)
        self.untouched.append(path)
        return path

    def strangers(self, path: Path) -> Path:
        """Give `path` to somebody else, in a directory where everybody may make files."""
        self.directory.chmod(0o1777)
        run("chown", "-h", NOBODY, path)
        return path

    def link(self, target: object, name: str = "link") -> Path:
        path = self.directory / name
        path.symlink_to(str(target))
        self.untouched.append(path)
        return path

    def node(self, *words: object) -> Path:
        path = self.directory / "node"
        run("mknod", path, *words)
        run("chmod", "666", path)
        self.untouched.append(path)
        return path


_Make = TypeVar("_Make", bound="Callable[[Box], object]")
KINDS: "dict[str, tuple[Callable[[Box], object], list[str]]]" = {}


def kind(name: str, outcomes: str) -> Callable[[_Make], _Make]:
    """Register a kind of path, with the outcome for each of `OPTIONS`."""

    def register(make: _Make) -> _Make:
        words = outcomes.split()
        KINDS[name] = make, words * len(OPTIONS) if len(words) == 1 else words
        return make

    return register


@kind("new file", "new new new 2 new free kept")
def _(box: Box) -> object:
    return box.directory / "file"


@kind("in a missing directory", "2")
def _(box: Box) -> object:
    return box.directory / "missing" / "file"


@kind("below a file", "2")
def _(box: Box) -> object:
    return box.file(b"mine") / "file"


@kind("our own file", "ours ours ours ours ours 3 3")
def _(box: Box) -> object:
    return box.file(box.option.own)


@kind("a file of another option", "3 3 3 2 3 3 3")
def _(box: Box) -> object:
    return box.file(box.option.other)


@kind("foreign text", "3 3 3 2 3 3 3")
def _(box: Box) -> object:
    return box.file(b"root:x:0:0\nlast line, not ended")


@kind("foreign binary", "3 3 3 2 3 3 3")
def _(box: Box) -> object:
    return box.file(bytes(range(256)))


@kind("foreign JSON", "3 3 3 2 3 3 3")
def _(box: Box) -> object:
    return box.file(b'{"table": "x"}')


@kind("empty file", "ours ours ours 2 ours 3 3")
def _(box: Box) -> object:
    return box.file(b"")


@kind("our file with another hard link", "3")
def _(box: Box) -> object:
    path = box.file(box.option.own)
    os.link(str(path), str(box.directory / "other"))
    return path


@kind("link to our file", "ours ours ours ours ours 3 3")
def _(box: Box) -> object:
    return box.link(box.file(box.option.own))


@kind("link to a foreign file", "3 3 3 2 3 3 3")
def _(box: Box) -> object:
    return box.link(box.file(b"mine"))


@kind("dangling link", "new new new 2 new 3 kept")
def _(box: Box) -> object:
    return box.link(box.directory / "file")


@kind("links in a circle", "2 2 2 2 2 3 2")
def _(box: Box) -> object:
    return box.link("link")


@kind("link of somebody else", "3")
def _(box: Box) -> object:
    return box.strangers(box.link(box.file(box.option.own)))


@kind("dangling link of somebody else", "3")
def _(box: Box) -> object:
    (box.directory / "etc").mkdir()
    return box.strangers(box.link(box.directory / "etc" / "new"))


@kind("below a link of somebody else", "3")
def _(box: Box) -> object:
    (box.directory / "etc").mkdir()
    return box.strangers(box.link(box.directory / "etc")) / "file"


@kind("file of somebody else in /tmp", "3")
def _(box: Box) -> object:
    return box.strangers(box.file(box.option.own, mode=0o644))


@kind("directory", "2 2 2 2 2 3 kept")
def _(box: Box) -> object:
    (box.directory / "directory").mkdir()
    (box.directory / "directory" / "mine").write_text("mine")
    return box.directory / "directory"


@kind("empty directory", "2 2 2 2 2 free kept")
def _(box: Box) -> object:
    (box.directory / "directory").mkdir()
    return box.directory / "directory"


@kind("directory of somebody else in /tmp", "2 2 2 2 2 free 3")
def _(box: Box) -> object:
    (box.directory / "directory").mkdir()
    return box.strangers(box.directory / "directory")


@kind("/dev/null", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    box.untouched.append(Path("/dev/null"))
    return "/dev/null"


@kind("/dev/full", "4 4 3 3 3 3 3")
def _(box: Box) -> object:
    box.untouched.append(Path("/dev/full"))
    return "/dev/full"


@kind("a node like /dev/null", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    return box.node("c", 1, 3)


@kind("link to a node like /dev/null", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    return box.link(box.node("c", 1, 3))


@kind("another character device", "3")
def _(box: Box) -> object:
    return box.node("c", 1, 8)


@kind("block device", "3")
def _(box: Box) -> object:
    return box.node("b", 7, 200)


@kind("FIFO with a reader", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    path = fifo(box)
    reader = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK)
    box.opened.callback(os.close, reader)
    box.received = lambda: os.read(reader, 65536)
    return path


@kind("FIFO without a reader", "2 2 3 3 3 3 3")
def fifo(box: Box) -> Path:
    path = box.directory / "fifo"
    os.mkfifo(str(path))
    box.untouched.append(path)
    return path


@kind("FIFO of somebody else in /tmp", "3")
def _(box: Box) -> object:
    return box.strangers(fifo(box))


@kind("socket", "3")
def _(box: Box) -> object:
    server = box.opened.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
    server.bind(str(box.directory / "socket"))
    return box.directory / "socket"


@kind("read-only file", "2 2 2 2 2 3 3")
def _(box: Box) -> object:
    return box.file(box.option.own, mode=0o440)


@kind("file on a read-only mount", "2 2 2 2 2 3 3")
def _(box: Box) -> object:
    box.directory = box.opened.enter_context(tmpfs(box.directory / "mount", "size=1m"))
    path = box.file(box.option.own)
    run("mount", "-o", "remount,ro", box.directory)
    return path


@kind("new file on a read-only mount", "2 2 2 2 2 free 2")
def _(box: Box) -> object:
    box.directory = box.opened.enter_context(tmpfs(box.directory / "mount", "size=1m"))
    run("mount", "-o", "remount,ro", box.directory)
    return box.directory / "file"


@kind("file without permission", "2 2 2 2 2 3 3")
def _(box: Box) -> object:
    box.as_nobody = True
    path = box.file(box.option.own, mode=0o600)
    run("chown", 0, path)
    return path


@kind("new file without permission", "2 2 2 2 2 free 2")
def _(box: Box) -> object:
    box.as_nobody = True
    run("chown", 0, box.directory)
    box.opened.callback(run, "chown", os.geteuid(), box.directory)
    return box.directory / "file"


@kind("control character in the name", "2")
def _(box: Box) -> object:
    return box.directory / "fi\x1b]0;le"


@kind("newline in the name", "2")
def _(box: Box) -> object:
    return box.directory / "fi\nle"


@kind("too long a name", "2 2 2 2 2 2 2")
def _(box: Box) -> object:
    return box.directory / ("x" * 300)


@kind("/dev/fd/N, a pipe", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    reader, writer = os.pipe()
    box.opened.callback(os.close, reader)
    box.opened.callback(os.close, writer)
    box.received = lambda: os.read(reader, 65536)
    return f"/dev/fd/{writer}"


@kind("/dev/fd/N, a file", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    path = box.directory / "log"
    path.write_bytes(b"before\n")
    handle = os.open(str(path), os.O_WRONLY | os.O_APPEND)
    box.opened.callback(os.close, handle)
    box.received = lambda: path.read_bytes().partition(b"before\n")[2]
    return f"/dev/fd/{handle}"


@kind("/dev/fd/N, for reading", "3")
def _(box: Box) -> object:
    reader, writer = os.pipe()
    box.opened.callback(os.close, reader)
    box.opened.callback(os.close, writer)
    return f"/dev/fd/{reader}"


@kind("terminal", "stream stream 3 3 3 3 3")
def _(box: Box) -> object:
    master, slave = os.openpty()
    box.opened.callback(os.close, master)
    box.opened.callback(os.close, slave)
    box.received = lambda: os.read(master, 65536)
    return os.ttyname(slave)


def shape(path: Path) -> object:
    """All that could be changed of what is at `path`."""
    if not os.path.lexists(str(path)):
        return None
    status = os.lstat(str(path))
    content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
    target = os.readlink(str(path)) if stat.S_ISLNK(status.st_mode) else ""
    times = (status.st_mtime_ns, status.st_ctime_ns) if stat.S_ISREG(status.st_mode) else ()
    identity = (status.st_mode, status.st_ino, status.st_uid, status.st_gid, status.st_rdev)
    return identity, status.st_nlink, times, content, target


@contextlib.contextmanager
def nobody(wanted: bool) -> Iterator[None]:
    """Be somebody without rights inside."""
    before = os.geteuid()
    if wanted and before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


KERNEL_REFUSES = Path("/proc/sys/fs/protected_symlinks").read_text().strip() == "1"


def outcome(write: Callable[[str], None], path: str, box: Box) -> str:
    """Write, and return the outcome with what was refused proven to be untouched."""
    before = {str(item): shape(item) for item in [*box.untouched, *box.directory.rglob("*")]}
    error: Optional[TuneError] = None
    with nobody(box.as_nobody):
        try:
            write(path)
        except TuneError as caught:
            error = caught
    after = {str(item): shape(item) for item in [*box.untouched, *box.directory.rglob("*")]}
    if error:
        assert after == before
        assert str(error).isprintable() and len(str(error).splitlines()) == 1
        return str(error.exit_status)
    if write is dest:
        assert after == before
        return "free"
    real = os.path.realpath(path)
    if write is keep:
        (kept,) = (name for name in set(after) - set(before) if name != real)
        assert os.path.dirname(kept) == real and os.lstat(kept).st_mode == stat.S_IFREG | 0o600
        assert box.option.new(Path(kept).read_bytes())
        before.setdefault(real, shape(Path(real)))
        assert {name: shape(Path(name)) for name in before} == before
        return KEPT
    if box.received or not os.path.isfile(real):
        assert box.received or after == before
        return WRITTEN
    assert set(after) - set(before) <= {real, *(f for f in after if f.startswith(real + ".2"))}
    others = {name for name in before if name != real}
    assert {name: after[name] for name in others} == {name: before[name] for name in others}
    old = before.get(real)
    if old:
        now = os.lstat(real)
        kept = 0o600 if write is quarantine else 0o640
        assert stat.S_IMODE(now.st_mode) == kept
    return REPLACED if old else CREATED


@pytest.fixture
def box() -> Iterator[Box]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="kallithea-tune-test-") as directory:
        os.chmod(directory, 0o755)
        with contextlib.ExitStack() as opened:
            yield Box(Path(directory), OPTIONS["--save"], opened)


CASES = [pytest.param(name, option, id=f"{name}-{option}") for name in KINDS for option in OPTIONS]


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("name, option", CASES)
def test_each_kind_of_path_with_each_option(box: Box, name: str, option: str) -> None:
    make, outcomes = KINDS[name]
    box.option = OPTIONS[option]
    path = str(make(box))
    expected = outcomes[list(OPTIONS).index(option)]
    found = outcome(box.option.write, path, box)
    if KERNEL_REFUSES and (name, option) == ("below a link of somebody else", "DEST"):
        # As most distributions have it set: what is below the link cannot even be looked at.
        assert found == "2"
    else:
        assert found == expected
    if expected in (CREATED, REPLACED):
        assert box.option.new(Path(path).read_bytes())
    if expected == WRITTEN and box.received:
        assert box.option.new(box.received())


def table() -> str:
    """Return the table of kinds and options in reStructuredText."""
    rows = [["path", *OPTIONS]]
    rows += [[name, *(MEANING[word] for word in words)] for name, (_, words) in KINDS.items()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    rule = "  ".join("=" * width for width in widths)
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


if __name__ == "__main__":
    print(table())
