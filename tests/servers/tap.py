"""Stands between a proxy and its backend and counts what passes, to see what a proxy keeps to
itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from typing import Any, Callable

# Small, so that what is counted has really left the proxy or the backend.
BUFFER = 65536
# Where a request begins, a piece of what is received begins: nobody sends the next one before the
# answer.
REQUEST = re.compile(rb"[A-Z]+ (\S+) HTTP/1")


class Tap:
    """Relays TCP connections to the local `port`; `up` and `down` are the bytes seen towards it and
    back.

    `asked` holds the path of each HTTP request, `recorded`, if it is set, all that is sent.
    """

    def __init__(self, port: int) -> None:
        self.up = self.down = 0
        self.asked: list[str] = []
        self.recorded: bytearray | None = None
        self._gate, self._limit = "", 0
        self._reached, self._released = threading.Event(), threading.Event()
        self._target = port
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                backend = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for one, other, name in ((client, backend, "up"), (backend, client, "down")):
                threading.Thread(target=self._relay, args=(one, other, name), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, name: str) -> None:
        target.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(BUFFER)
                if not data:
                    break
                found = REQUEST.match(data) if name == "up" else None
                if found:
                    self.asked.append(found[1].decode())
                if name == "up" and self.recorded is not None:
                    self.recorded += data
                if name == self._gate and getattr(self, name) >= self._limit:
                    self._reached.set()
                    self._released.wait(300)
                target.sendall(data)
                setattr(self, name, getattr(self, name) + len(data))
        for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
            with contextlib.suppress(OSError):
                end.shutdown(how)

    def passed_beyond(self, name: str, size: int, words: list[str], **options: Any) -> int:
        """Run a client, stop it after `size` bytes "up" or "down", and return what passes while it
        stands still.

        The client runs to its end afterwards; AssertionError when it fails or has nothing of that
        size to carry.
        """
        before = getattr(self, name)
        self._reached.clear()
        self._released.clear()
        self._gate, self._limit = name, before + size
        client = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        try:
            while not self._reached.wait(0.1):
                assert client.poll() is None, client.stdout and client.stdout.read()
            os.killpg(client.pid, signal.SIGSTOP)
            self._gate = ""
            self._released.set()
            passed = self.settled(lambda: int(getattr(self, name))) - before
            os.killpg(client.pid, signal.SIGCONT)
            said, _ = client.communicate(timeout=300)
            assert client.returncode == 0, said
            return passed
        finally:
            self._gate = ""
            self._released.set()
            client.kill()

    def settled(self, count: Callable[[], int], quiet: float = 1.5) -> int:
        """Return what `count` says once it has not changed for `quiet` seconds."""
        seen, since = count(), time.monotonic()
        while time.monotonic() - since < quiet:
            time.sleep(0.05)
            if count() != seen:
                seen, since = count(), time.monotonic()
        return seen

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()
