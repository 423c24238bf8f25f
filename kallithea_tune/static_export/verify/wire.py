"""Requests byte for byte: headers in their order, bodies in chunks, as no HTTP library does."""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import dataclass
from typing import Iterator, Sequence, Tuple
from urllib.parse import urlsplit

from kallithea_tune.static_export.verify.client import Answer, joined, unreachable
from kallithea_tune.system import interruption
from kallithea_tune.system.web import connection_to, host_of

Headers = Sequence[Tuple[str, str]]
LARGEST = 1 << 20  # bytes of a response that are read
SECONDS = 30.0  # for a response; none of these requests costs the application much
# Seconds without an interim response; curl, and with it git, waits for one second.
CONTINUE_SECONDS = 3.0


@dataclass(frozen=True)
class Request:
    """A request as it is sent; `headers` are complete but for ``Connection``, which comes last."""

    method: str
    target: str
    headers: Headers
    body: Sequence[bytes] = ()

    @property
    def head(self) -> bytes:
        """The request line and the headers."""
        lines = [f"{name}: {value}" for name, value in (*self.headers, ("Connection", "close"))]
        return "\r\n".join([f"{self.method} {self.target} HTTP/1.1", *lines, "", ""]).encode()


class Wire:
    """Sends each request to the server of `url` over a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = host_of(url)
        self.prefix = urlsplit(url).path.rstrip("/")

    def send(self, request: Request) -> Answer:
        """Send a request; the status is 0 when there is no response to it.

        Raises ConfigError when the server cannot be reached.
        """
        with self._connected() as connection:
            _write(connection, request.head, *request.body)
            return _answer(connection, request.method)

    def send_expecting(self, request: Request) -> Answer:
        """Send the headers, and the body only after ``100 Continue``.

        The status is 100 where the server says nothing for `CONTINUE_SECONDS`, otherwise that of
        the final response. Raises ConfigError when the server cannot be reached.
        """
        with self._connected() as connection:
            _write(connection, request.head)
            connection.settimeout(CONTINUE_SECONDS)
            try:
                status = _first_lines(connection).split(b" ")[1:2]
            except socket.timeout:
                return Answer(100, {}, b"")
            connection.settimeout(SECONDS)
            if status != [b"100"]:
                return Answer(int(status[0]) if status and status[0].isdigit() else 0, {}, b"")
            _write(connection, *request.body)
            return _answer(connection, request.method)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        connection = connection_to(self.url, SECONDS)

        def break_off() -> None:
            if connection.sock:
                connection.sock.shutdown(socket.SHUT_RDWR)

        try:
            with interruption.waking(break_off):
                try:
                    connection.connect()
                except OSError as error:
                    raise unreachable(connection.host, error) from None
                yield connection.sock
        finally:
            connection.close()


def _write(connection: socket.socket, *pieces: bytes) -> None:
    # Who refuses a request need not read all of it; the response can be read all the same. With
    # TLS, the error is one of ssl.
    with contextlib.suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)


def _first_lines(connection: socket.socket) -> bytes:
    """Return what is received up to an empty line, and not a byte more. Raises socket.timeout."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        try:
            byte = connection.recv(1)
        except socket.timeout:
            raise
        except OSError:
            break
        if not byte:
            break
        received += byte
    return received


def _answer(connection: socket.socket, method: str) -> Answer:
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read(LARGEST)
    except (http.client.HTTPException, OSError):
        return Answer(0, {}, b"")
    return Answer(response.status, joined(response.getheaders()), body)
