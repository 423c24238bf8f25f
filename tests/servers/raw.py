"""HTTP as bytes: what no library sends, such as a header twice, or in an order of its own."""

from __future__ import annotations

import http.client
import socket
from typing import NamedTuple, Sequence


class Response(NamedTuple):
    """What came back: status, headers in lower case as they came, and body."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of every header line of that name."""
        return [value for other, value in self.headers if other == name]


def send(port: int, line: str, *headers: tuple[str, str]) -> Response:
    """Send a request line and these headers only; status 0 when the server closes instead."""
    lines = [line, *(f"{name}: {value}" for name, value in headers), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        response = http.client.HTTPResponse(connection, method=line.split()[0])
        try:
            response.begin()
        except (ConnectionError, http.client.BadStatusLine):
            return Response(0, (), b"")
        headers_back = [(name.lower(), value) for name, value in response.getheaders()]
        return Response(response.status, headers_back, response.read())
