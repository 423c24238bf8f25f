"""Connects to servers that requests wait for, until their first answer and without credentials."""

from __future__ import annotations

import concurrent.futures
import enum
import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Callable, Mapping, Sequence

from kallithea_tune.system import child

LIMIT_SECONDS = 2.0
ANSWER_BYTES = 64 << 10
# RFC 4511: an anonymous bind, its end, and the request of RFC 4511, section 4.14, StartTLS.
_BIND = bytes.fromhex("300c020101600702010304008000")
_UNBIND = bytes.fromhex("30050201024200")
_START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_SUCCESS = b"\x0a\x01\x00"


class Protocol(enum.Enum):
    """What a server speaks."""

    smtp = "SMTP"
    ldap = "LDAP"
    http = "HTTP"


class Security(enum.Enum):
    """When TLS begins."""

    none = "none"
    at_once = "at once"
    on_request = "StartTLS"


@dataclass(frozen=True)
class Server:
    """Where a server is; `path` is the URL path that one of HTTP is requested for."""

    protocol: Protocol
    host: str
    port: int
    security: Security = Security.none
    path: str = "/"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Reply:
    """The milliseconds until a server answered, or why it `failed` to.

    `silent` says that nothing came within `LIMIT_SECONDS`, so that who waits longer would still
    wait; `connected` whether it had accepted the connection by then.
    """

    ms: float = 0.0
    failed: str = ""
    silent: bool = False
    connected: bool = False


def replies_of(servers: Sequence[Server]) -> Sequence[Reply]:
    """Return the replies of `servers`, all requested at the same time in a child process."""
    if not servers:
        return []
    return child.call(replies_here, 2 * LIMIT_SECONDS + 3, servers=tuple(servers))


def replies_here(servers: tuple[Server, ...]) -> list[Reply]:
    """Request the replies; for a child, since a name server may hang in a thread of its own."""
    end = time.monotonic() + LIMIT_SECONDS + 0.5
    pool = concurrent.futures.ThreadPoolExecutor(len(servers))
    visits = [_Visit(server) for server in servers]
    started = [(visit, pool.submit(visit.reply)) for visit in visits]
    replies = []
    for visit, future in started:
        try:
            replies.append(future.result(max(0.0, end - time.monotonic())))
        except concurrent.futures.TimeoutError:
            replies.append(visit.late())
    return replies


class _Visit:
    """One conversation with one server, until its first answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connected = False

    def late(self) -> Reply:
        failed = f"nothing within {LIMIT_SECONDS:g} s"
        return Reply(failed=failed, silent=True, connected=self._connected)

    def reply(self) -> Reply:
        started = time.perf_counter()
        place = (self._server.host, self._server.port)
        try:
            with socket.create_connection(place, LIMIT_SECONDS) as connection:
                self._connected = True
                _SPEAK[self._server.protocol](connection, self._server)
        except (socket.timeout, TimeoutError):
            return self.late()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return Reply(failed=_reason(error), connected=self._connected)
        return Reply((time.perf_counter() - started) * 1000, connected=True)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"


def _encrypted(connection: socket.socket, server: Server, trusted: bool = False) -> socket.socket:
    """Begin TLS; unless the certificate must be `trusted`, any will do."""
    context = ssl.create_default_context()
    if not trusted:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=server.host)


def _require(good: bool, otherwise: str) -> None:
    if not good:
        raise OSError(0, f"it {otherwise}")


def _speak_smtp(connection: socket.socket, server: Server) -> None:
    """Greet a mail server and begin TLS as Kallithea's mails do, any certificate being good."""
    if server.security is Security.at_once:
        connection = _encrypted(connection, server)
    _smtp_answer(connection, b"220", "does not greet as SMTP does")
    connection.sendall(b"EHLO localhost\r\n")
    offered = _smtp_answer(connection, b"250", "refuses EHLO")
    if server.security is Security.on_request:
        _require(b"STARTTLS" in offered.upper(), "does not offer STARTTLS")
        connection.sendall(b"STARTTLS\r\n")
        _smtp_answer(connection, b"220", "refuses STARTTLS")
        connection = _encrypted(connection, server)
    connection.sendall(b"QUIT\r\n")


def _smtp_answer(connection: socket.socket, code: bytes, otherwise: str) -> bytes:
    """Read an answer to its last line, the one without a hyphen behind the number."""
    answer = b""
    while not re.search(rb"(?m)^\d{3}( .*)?\r?\n\Z", answer):
        received = connection.recv(4096)
        _require(bool(received), "hangs up")
        answer += received
        _require(len(answer) < ANSWER_BYTES, "does not end its answer")
    first = answer.splitlines()[0].decode("latin-1")
    _require(answer.startswith(code), f"{otherwise}: {first[:60]}")
    return answer


def _speak_ldap(connection: socket.socket, server: Server) -> None:
    """Bind anonymously, whose refusal is an answer, too.

    Whom python-ldap trusts is in the configuration of libldap, so certificates are not checked.
    """
    if server.security is Security.on_request:
        _ldap_answer(connection, _START_TLS, "refuses StartTLS", _SUCCESS)
    if server.security is not Security.none:
        connection = _encrypted(connection, server)
    _ldap_answer(connection, _BIND, "does not speak LDAP")
    connection.sendall(_UNBIND)


def _ldap_answer(
    connection: socket.socket, request: bytes, otherwise: str, part: bytes = b""
) -> None:
    """Send a message and read the start of the answer, which is a SEQUENCE with `part` in it."""
    connection.sendall(request)
    answer = connection.recv(512)
    _require(bool(answer), "hangs up")
    _require(answer[:1] == b"\x30" and part in answer, otherwise)


def _speak_http(connection: socket.socket, server: Server) -> None:
    """Request a page without logging in, whose refusal is an answer, too."""
    if server.security is Security.at_once:
        connection = _encrypted(connection, server, trusted=True)
    session = http.client.HTTPConnection(server.host, server.port)
    session.sock = connection
    session.request("GET", server.path)
    response = session.getresponse()
    _require(response.status < 500, f"answers {response.status} {response.reason}")


_SPEAK: Mapping[Protocol, Callable[[socket.socket, Server], None]] = {
    Protocol.smtp: _speak_smtp,
    Protocol.ldap: _speak_ldap,
    Protocol.http: _speak_http,
}
