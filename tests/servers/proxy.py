"""A TCP proxy on loopback that drops its connections, as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Optional


class Proxy:
    """Passes on what comes for `port`; after `limit` bytes to the server, every connection is
    reset.
    """

    def __init__(self, port: int, limit: Optional[int] = None) -> None:
        self._target, self._left = port, limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for one, other, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass_on, args=(one, other, counted), daemon=True
                    ).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = one.recv(16384)
                if counted and self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        break
                if not data:
                    break
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                # Without lingering, close() sends a reset.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()
