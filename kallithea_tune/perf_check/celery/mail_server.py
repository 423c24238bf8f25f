"""How long a mail server takes until it is ready to be told anything."""

from __future__ import annotations

import socket
import time
from typing import Any


def greet(host: str, port: int) -> dict[str, Any]:
    """Connect, read the greeting, say QUIT: return the milliseconds, or why not under ``failed``.
    No mail is sent.
    """
    began = time.perf_counter()
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            greeting = connection.recv(512)
            taken = (time.perf_counter() - began) * 1000
            connection.sendall(b"QUIT\r\n")
    except OSError as error:
        return {"failed": error.strerror or str(error)}
    if not greeting.startswith(b"220"):
        return {"failed": "it greeted with {!r}".format(greeting[:40].decode("latin-1"))}
    return {"greeting_ms": taken}
