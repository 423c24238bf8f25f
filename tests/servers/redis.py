"""A private Redis."""

from __future__ import annotations

import socket

from servers.server import Server


class Redis(Server):
    """A Redis that keeps nothing and wants a password."""

    account = "redis"

    def __init__(self) -> None:
        super().__init__()
        self._settings = self.directory / "redis.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {self.directory}",
            'save ""',
        ]
        self._settings.write_text("\n".join(lines) + "\n")
        self.own(self._settings)

    def command(self) -> list[str]:
        """Return the server with its file, since others could read its arguments."""
        return ["/usr/bin/redis-server", str(self._settings)]

    def ready(self) -> bool:
        """Tell whether the server lets the user in."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.settimeout(5)
                connection.sendall(f"AUTH {self.password}\r\n".encode())
                return connection.recv(100).startswith(b"+OK")
        except OSError:
            return False

    @property
    def url(self) -> str:
        """The broker's URL as Kallithea's ini file has it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"
