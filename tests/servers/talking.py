"""Small servers that say what a test has them say, or nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Iterator, Sequence

# An anonymous bind of LDAP that succeeds, RFC 4511.
LDAP_BOUND = bytes.fromhex("300c02010161070a010004000400")
SMTP = (b"220 mail ESMTP\r\n", b"250-mail\r\n250 STARTTLS\r\n")


@contextlib.contextmanager
def mute() -> Iterator[int]:
    """Accept connections and say nothing; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def full() -> Iterator[int]:
    """Listen, and accept no further connection, as behind a firewall that drops packets."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def saying(
    *answers: bytes, speaks_first: bool = False, received: "list[bytes] | None" = None
) -> Iterator[int]:
    """Answer each message of a client with the next of `answers`; gives the port.

    A server of SMTP `speaks_first`. What the clients send is added to `received`.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(
            target=_serve, args=(listener, answers, speaks_first, received), daemon=True
        )
        thread.start()
        yield listener.getsockname()[1]


def _serve(
    listener: socket.socket,
    answers: Sequence[bytes],
    speaks_first: bool,
    received: "list[bytes] | None",
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            for number, answer in enumerate((*answers, b"")):
                if number or not speaks_first:
                    message = connection.recv(4096)
                    if received is not None:
                        received.append(message)
                connection.sendall(answer)


@contextlib.contextmanager
def answering_http(status: str) -> Iterator[int]:
    """Answer each request of HTTP with `status`, as ``401 Unauthorized``."""
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with saying(answer.encode()) as port:
        yield port
