"""Statements that fail, and transactions that are rolled back, when the end is requested."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

UNANSWERED = 2.0  # seconds until a server that does not react is taken for gone; our judgement
# A connection whose other end is silent for this long is tried, so often, and breaks off after a
# minute; Linux by itself waits two hours, and a quarter of one for what it has sent.
LOSS: Mapping[str, int] = {
    "TCP_KEEPIDLE": 30,  # seconds
    "TCP_KEEPINTVL": 10,  # seconds
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60000,  # milliseconds
}


class Canceller:
    """Makes the statement of a connection fail, from another thread, when it is called.

    Servers are requested to over another connection: mysqlclient answers no other thread, and
    psycopg2's own ``cancel()`` lets no other thread run until the server has reacted.
    """

    def __init__(self, connection: Connection) -> None:
        self._engine, self._name = connection.engine, connection.dialect.name
        # A connection is whatever the driver makes: PEP 249 defines no class for it.
        self._driver: Any = connection.connection.connection
        self._statement = ""
        if self._name == "postgresql":
            self._statement = f"SELECT pg_cancel_backend({self._driver.get_backend_pid():d})"
        elif self._name == "mysql":
            self._statement = f"KILL QUERY {self._driver.thread_id():d}"
        self._socket = _Socket.of(self._driver) if self._statement else None
        self._since: Optional[float] = None
        self._request: Optional[threading.Thread] = None

    def __call__(self) -> None:
        """Cancel the statement, if there is one; after two seconds of calls, break off."""
        now = time.monotonic()
        self._since = self._since or now
        if self._name == "sqlite":
            self._driver.interrupt()
        elif self._socket and now - self._since > UNANSWERED:
            self._socket.shut_down()
        elif self._request is None or not self._request.is_alive():
            # A server that stands still does not answer this either.
            self._request = threading.Thread(target=self.request, daemon=True)
            self._request.start()

    def request(self) -> None:
        """Cancel the statement on a server, and wait until it has received that."""
        if self._statement:
            with contextlib.suppress(Exception), contextlib.closing(
                self._engine.raw_connection()
            ) as other:
                other.cursor().execute(self._statement)


@dataclass(frozen=True)
class _Socket:
    """A connection's descriptor, and what it referred to: its number may be another's later."""

    descriptor: int
    device: int
    inode: int

    @classmethod
    def of(cls, driver: Any) -> _Socket:
        descriptor = (getattr(driver, "_sock", None) or driver).fileno()
        status = os.fstat(descriptor)
        return cls(descriptor, status.st_dev, status.st_ino)

    def shut_down(self) -> None:
        """Shut it down, as if the server had gone."""
        with socket.socket(fileno=os.dup(self.descriptor)) as same:
            status = os.fstat(same.fileno())
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                same.shutdown(socket.SHUT_RDWR)


def notice_loss(driver: Any) -> None:
    """Have the connection of a driver fail within a minute after the other machine vanished."""
    # Neither a file nor a local socket has these options.
    with contextlib.suppress(AttributeError, OSError), socket.socket(
        fileno=os.dup(_Socket.of(driver).descriptor)
    ) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in LOSS.items():
            same.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit what is done inside, or roll it back, also when the end was requested until then."""
    begun = connection.begin()
    try:
        yield
        interruption.check()
    except BaseException:
        with interruption.deferred():
            begun.rollback()
        raise
    with interruption.deferred():
        begun.commit()
