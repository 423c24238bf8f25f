"""What the private servers of the tests share: loopback, a free port, a temporary directory,
stopped by pid.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator, TypeVar

S = TypeVar("S", bound="Server")

PREFIX = "kallithea-tune-test-"
MEMORY = "/dev/shm"


def _ports() -> Iterator[int]:
    """Yield ports below those of outgoing connections, others in each worker of pytest-xdist."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    first, count = 12000 + 2500 * (worker % 8), 2500
    offset = secrets.randbelow(count)
    yield from itertools.cycle(first + (offset + number) % count for number in range(count))


_next_port = _ports()


def free_port() -> int:
    """Return a TCP port that nothing listened on a moment ago, and that no other worker takes."""
    for port in itertools.islice(_next_port, 2500):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def in_memory() -> "str | None":
    """Return the directory of a file system in memory with room for a few databases, without what
    the dead left there.

    MariaDB waits for the disk with each table it makes, whatever it is told.
    """
    if not os.path.isdir(MEMORY) or shutil.disk_usage(MEMORY).free < 2 << 30:
        return None
    for left in Path(MEMORY).glob(PREFIX + "*"):
        if not os.path.exists("/proc/{}".format(left.name[len(PREFIX) :].partition("-")[0])):
            shutil.rmtree(str(left), ignore_errors=True)
    return MEMORY


class Server:
    """A server program run for the tests alone; a subclass says how in `command` and `ready`."""

    fast = False  # whether its data belong into memory
    account = "nobody"  # who runs it when the tests run as root, which database servers refuse
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self.directory = Path(
            tempfile.mkdtemp(
                "", "%s%d-" % (PREFIX, os.getpid()), in_memory() if self.fast else None
            )
        )
        self.log = self.directory / "server.log"
        # Temporary files, too, where the account may write whatever the machine's own directory for
        # them allows.
        self.environment = dict(os.environ, TMPDIR=str(self.directory))
        self._process: subprocess.Popen[bytes] | None = None
        self.own(self.directory)

    def own(self, path: Path) -> None:
        """Give a file or directory to the account that runs the server."""
        if os.getuid() == 0:
            owner = pwd.getpwnam(self.account)
            os.chown(str(path), owner.pw_uid, owner.pw_gid)

    def command(self) -> list[str]:
        """Return the server program with its options, to run in the foreground."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Tell whether the server answers."""
        raise NotImplementedError

    def answers(self, path: str) -> bool:
        """Tell whether the server has an answer over HTTP for `path`, whatever it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process
        return self._process.pid

    def as_account(self, *command: object) -> list[str]:
        """Put `setpriv` in front of a command: an unprivileged account, and death with the
        tests.
        """
        words = ["setpriv", "--pdeathsig", "KILL"]
        if os.getuid() == 0:
            owner = pwd.getpwnam(self.account)
            words += ["--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
        return words + [str(word) for word in command]

    def run(self, *command: object) -> None:
        """Run a preparing command to its end; show what it said when it fails."""
        result = subprocess.run(
            self.as_account(*command),
            cwd=str(self.directory),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert result.returncode == 0, result.stdout.decode("utf-8", "replace")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.as_account(*self.command()),
                cwd=str(self.directory),
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + 60
        while not self.ready():
            assert self._process.poll() is None and time.monotonic() < give_up, self.log.read_text(
                errors="replace"
            )
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server, by its pid; the data stay for another `start`."""
        if self._process:
            self._process.send_signal(self.stop_signal)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self.stop()
        shutil.rmtree(str(self.directory), ignore_errors=True)


def running(server: S) -> Iterator[S]:
    """Start a server, and remove it at the end; for ``yield from`` in a fixture."""
    try:
        server.start()
        yield server
    finally:
        server.remove()
