"""Sends signals to our commands at random moments, and looks at what is left of each.

usage: signals.py INSTANCE SCRATCH RUNS [COMMAND ...]

INSTANCE is what tools/make_instance.py makes. Each run is a process that is forked from this one,
where everything is imported; the clock of the random moments starts when the command has begun.
"""

from __future__ import annotations

import collections
import contextlib
import http.server
import logging
import os
import random
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn, Sequence

from front_end import make_overlay

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MARK = "KALLITHEA_TUNE_SIGNALS"
GIVE_UP_S = 120.0
INTERRUPTED = 130


@dataclass(frozen=True)
class Ended:
    """How a run ended: status (or minus the signal), output, and whether it had finished before."""

    status: int
    out: str
    err: str
    finished_first: bool
    seconds: float


def forked(
    words: Sequence[object], directory: Path, send: Callable[[int], float], asking: bool = True
) -> Ended:
    """Run gearbox with `words` in `directory`, and call `send` with its process id once it works.

    `send` returns when it sent the first signal, by the monotonic clock.
    Unless `asking`, db-migrate does not load the application.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.close(reading)
            _become(words, directory, out.fileno(), err.fileno(), writing, asking)
        os.close(writing)
        began = os.read(reading, 8)
        assert began, "the command did not begin"
        sent = send(child)
        status = _waited(child)
        # The second mark is the end of the command; nothing is written where it was killed.
        ended = os.read(reading, 8)
        os.close(reading)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    finished = bool(ended) and struct.unpack("d", ended)[0] < sent
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Ended(code, *said, finished, time.monotonic() - struct.unpack("d", began)[0])


def _waited(child: int) -> int:
    end = time.monotonic() + GIVE_UP_S
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"it did not end within {GIVE_UP_S:g} s")


def _become(
    words: Sequence[object], directory: Path, out: int, err: int, marks: int, asking: bool
) -> NoReturn:
    """Be gearbox, to the end of the process."""
    code: Any = 70
    try:
        for number in NUMBERS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        os.chdir(str(directory))
        os.environ.update({MARK: str(os.getppid()), "TMPDIR": str(directory / "tmp")})
        tempfile.tempdir = None
        logging.getLogger().handlers.clear()
        _mark_begin_and_end(marks)
        if not asking:
            _ask_nobody()
        sys.argv = ["gearbox", *map(str, words)]
        from gearbox.main import main

        code = main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        # Whatever the tests have open and registered belongs to their process.
        os._exit(code or 0)


def _mark_begin_and_end(marks: int) -> None:
    from kallithea_tune.cli import base

    guarded = base.TuneCommand._guarded

    def marked(self: Any, args: Any) -> int:
        os.write(marks, struct.pack("d", time.monotonic()))
        try:
            return guarded(self, args)
        finally:
            os.write(marks, struct.pack("d", time.monotonic()))

    base.TuneCommand._guarded = marked  # type: ignore[method-assign]


def _ask_nobody() -> None:
    """Have neither command load the application, which takes most of their time."""
    import kallithea

    from kallithea_tune.db_migrate import cutover
    from kallithea_tune.static_export import switch
    from kallithea_tune.static_export.sources import source

    public = os.path.join(os.path.dirname(kallithea.__file__), "public")
    source.roots_of = lambda instance: (public,)  # type: ignore[assignment]
    switch.status_of = lambda instance, path, settings: (  # type: ignore[assignment]
        404 if {**instance.settings, **settings}.get(switch.SWITCH) == "false" else 200
    )

    cutover.Cutover.visit_source_early = lambda self: None  # type: ignore[method-assign]
    cutover.Cutover.compare_pages = lambda self: self._migration.result  # type: ignore[method-assign]


class Place:
    """A directory with a copy of an instance, and what may be in it after a run."""

    def __init__(self, instance: Path, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(str(instance), str(directory / "instance"), symlinks=True)
        (directory / "tmp").mkdir()
        self.front_end = make_overlay(directory / "front-end")
        self.ini = directory / "instance" / "my.ini"
        with contextlib.closing(sqlite3.connect(str(self.ini.parent / "kallithea.db"))) as database:
            database.execute(
                "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'",
                [str(self.ini.parent / "repos")],
            )
            database.commit()
        self.old = self.ini.read_text()
        self.before = self.tree()

    def tree(self) -> set[str]:
        return {
            str(path.relative_to(self.directory))
            for path in self.directory.rglob("*")
            if "__pycache__" not in path.parts
        }

    def new(self) -> set[str]:
        """What was not there before."""
        return self.tree() - self.before

    def reset(self) -> None:
        """Remove it, and restore the ini file."""
        for name in sorted(self.new(), reverse=True):
            path = self.directory / name
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        self.ini.write_text(self.old)


class Command:
    """A command to interrupt: `words` of one run, and `wrong` with what an interrupted one left."""

    name = ""
    asking = True

    def __init__(self, place: Place) -> None:
        self.place = place
        self.after = ""

    def words(self) -> list[object]:
        raise NotImplementedError

    def wrong(self, ended: Ended) -> str:
        """Return what is wrong after a run; empty for nothing."""
        text = self.place.ini.read_text()
        if text not in (self.place.old, self.after):
            return "the ini file is neither the old nor the new one"
        backups = {name for name in self.place.new() if name.startswith("instance/my.ini.")}
        if len(backups) != (text != self.place.old):
            return f"backups: {sorted(backups)}"
        return self.left(self.place.new() - backups, text != self.place.old)

    def left(self, new: set[str], switched: bool) -> str:
        return f"left behind: {sorted(new)[:5]}" if new else ""


class PerfCheck(Command):
    name = "perf-check"

    def words(self) -> list[object]:
        return ["perf-check", "-c", self.place.ini, "--budget", "4", "--save", "saved.json"]

    def left(self, new: set[str], switched: bool) -> str:
        return super().left(new - {"saved.json"}, switched)


class StaticExport(Command):
    name = "static-export"

    def words(self) -> list[object]:
        return [
            *("static-export", "-c", self.place.ini, "served", "--server", "nginx"),
            *("--overlay", self.place.front_end, "-o", "site.conf", "--switch"),
        ]

    def left(self, new: set[str], switched: bool) -> str:
        served, site = self.place.directory / "served", self.place.directory / "site.conf"
        if served.is_symlink() and not (served / "css" / "style.css").exists():
            return "half a release is published"
        if site.exists() and not served.is_symlink() or switched and not site.exists():
            return "what comes later was done first"
        mine = {name for name in new if name.startswith("served.releases")}
        if not served.is_symlink() and mine:
            return f"left behind: {sorted(mine)[:5]}"
        return super().left(
            {name for name in new - mine if name not in ("served", "site.conf")}
            | {name for name in mine if "/.staging-" in name},
            switched,
        )


class StaticExportAlone(StaticExport):
    name = "static-export, without the application"
    asking = False


class Verify(Command):
    """static-export --verify, on a server of ours."""

    name = "static-export --verify"
    asking = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        words = ["static-export", "-c", place.ini, "served", "--overlay", place.front_end]
        served = forked(words, place.directory, _nothing, asking=False)
        assert served.status == 0, served
        place.before = place.tree()
        self.url = _server(place.directory / "served")

    def words(self) -> list[object]:
        return ["static-export", "-c", self.place.ini, "served", "--verify", self.url]


class DbMigrate(Command):
    name = "db-migrate --switch"

    def words(self) -> list[object]:
        url = "sqlite:///{}".format(self.place.directory / "moved.db")
        return ["db-migrate", "-c", self.place.ini, "--to", url, "--switch"]

    def left(self, new: set[str], switched: bool) -> str:
        moved = self.place.directory / "moved.db"
        state = ""
        if moved.exists():
            with contextlib.closing(sqlite3.connect(str(moved))) as database:
                tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
            state = "marked" if "kallithea_tune_journal" in tables else "the application's"
            if "alembic_version" not in tables:
                return "the target is there without a revision"
        if (
            state == "the application's"
            and not switched
            or state != "the application's"
            and switched
        ):
            return f"the ini file was {'' if switched else 'not '}changed, the target is {state!r}"
        return super().left(new - {"moved.db"}, switched)


class DbMigrateAlone(DbMigrate):
    name = "db-migrate --switch, without pages"
    asking = False


COMMANDS = {
    command.name: command
    for command in (
        PerfCheck,
        StaticExport,
        StaticExportAlone,
        Verify,
        DbMigrate,
        DbMigrateAlone,
    )
}


def _nothing(process: int) -> float:
    """Send nothing."""
    return time.monotonic()


def _server(root: Path) -> str:
    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(root))

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://127.0.0.1:{}".format(server.server_address[1])


def alive() -> list[int]:
    """Return the processes that our runs started and that are still there."""
    mark = f"{MARK}={os.getpid()}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                found.append(int(name))
    return found


def prepare() -> None:
    """Import everything, once for all runs."""
    import gearbox.main  # noqa: F401
    import kallithea.model.db  # noqa: F401

    from kallithea_tune.cli import db_migrate, perf_check, static_export  # noqa: F401
    from kallithea_tune.db_migrate import (  # noqa: F401
        migration,
        options,
        progress,
        report,
        switch,
    )
    from kallithea_tune.perf_check import model
    from kallithea_tune.static_export import export, verify  # noqa: F401
    from kallithea_tune.static_export import switch as static_switch  # noqa: F401

    model.all_checks()


def sent_at(chance: random.Random, seconds: float, number: int) -> Callable[[int], float]:
    """Return what sends a signal at a random moment, and by chance two more right after it."""

    def send(process: int) -> float:
        time.sleep(chance.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        # Not before: this process may have to wait between looking at the clock and the signal.
        sent = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            for _ in range(chance.choice((0, 0, 2))):
                time.sleep(chance.uniform(0, 0.05))
                os.kill(process, number)
        return sent

    return send


@dataclass(frozen=True)
class Count:
    """One run: which signal, what became of it, and what was wrong."""

    number: int
    outcome: str
    wrong: str = ""


def interrupted_runs(command: Command, runs: int, chance: random.Random) -> Iterator[Count]:
    """Let the command run to its end once, and then interrupt it `runs` times.

    A run that ended before its signal is repeated, for twice as many runs at most: the first run
    is the slowest, so how long one takes is learnt from those.
    """
    complete = forked(command.words(), command.place.directory, _nothing, command.asking)
    assert complete.status in (0, 1, 5), complete
    seconds = complete.seconds
    command.after = command.place.ini.read_text()
    command.place.reset()
    interrupted = 0
    for run in range(2 * runs):
        if interrupted == runs:
            return
        number = NUMBERS[run % 3]
        send = sent_at(chance, seconds, number)
        ended = forked(command.words(), command.place.directory, send, command.asking)
        outcome = "130" if ended.status == INTERRUPTED else f"other ({ended.status})"
        wrong = ""
        if ended.status != INTERRUPTED and ended.finished_first:
            outcome = "finished before"
            seconds = min(seconds, ended.seconds)
        elif ended.status != INTERRUPTED:
            wrong = f"swallowed: status {ended.status}: {ended.err[-500:]}"
        elif "Traceback" in ended.err:
            wrong = ended.err
        left = alive()
        if left:
            time.sleep(1)
            left = alive()
        wrong = wrong or command.wrong(ended) or (f"alive: {left}" if left else "")
        command.place.reset()
        interrupted += outcome != "finished before"
        yield Count(number, outcome, wrong)


def main() -> None:
    instance, scratch, runs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    prepare()
    for name in sys.argv[4:] or COMMANDS:
        directory = scratch / name.replace(" ", "")
        directory.mkdir(parents=True)
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        started = time.monotonic()
        command = COMMANDS[name](Place(instance, directory))
        for done, count in enumerate(
            interrupted_runs(command, runs, random.Random(os.getpid())), 1
        ):
            counts[signal.Signals(count.number).name, count.outcome] += 1
            if count.wrong:
                counts["", "wrong"] += 1
                print(name, signal.Signals(count.number).name, count.outcome, count.wrong)
            if done % 25 == 0:
                print(name, done, dict(counts), flush=True)
        print(f"{name}: {runs} runs in {time.monotonic() - started:.0f} s: {dict(counts)}")
        sys.stdout.flush()
        shutil.rmtree(str(directory))


if __name__ == "__main__":
    main()
