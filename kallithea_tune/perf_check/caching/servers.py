"""What memcached and Redis answer about themselves, without their client libraries."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from kallithea_tune.errors import NotMeasured

# A server in the same network answers in a few milliseconds.
ANSWER_SECONDS = 1.0
_PINGS = 5
_MOST_BYTES = 1 << 20
REDIS_PORT, MEMCACHED_PORT = 6379, 11211


@dataclass(frozen=True)
class Answer:
    """What a server says of itself, or why it says nothing (`failed`).

    `answer_ms` is the shortest of some round trips. `used` and `limit` are bytes, without a limit
    0; `evicted` is how many entries it has thrown out to make room since it started. `policy` is
    what Redis does when it is full. Of `entries`, so many are `everlasting`.
    """

    place: str
    failed: str = ""
    answer_ms: float = 0.0
    used: int = 0
    limit: int = 0
    evicted: int = 0
    entries: int = 0
    policy: str = ""
    everlasting: int = 0


class Failed(Exception):
    """The server refused, in its own words."""


def memcached(place: str) -> Answer:
    """Return the statistics of the memcached at ``host:port``; for a child."""
    host, _, port = place.rpartition(":") if ":" in place else (place, "", "")
    try:
        with _connected(host, int(port or MEMCACHED_PORT)) as connection:
            said = _exchange(connection, b"stats\r\n", b"END\r\n")
            answer_ms = min(_timed(connection, b"version\r\n", b"\r\n") for _ in range(_PINGS))
    except (OSError, ValueError, Failed) as error:
        return Answer(place, failed=_reason(error))
    found = dict(re.findall(r"^STAT (\w+) (\S+)\r?$", said, re.M))
    return Answer(
        place,
        answer_ms=answer_ms,
        used=_number(found, "bytes"),
        limit=_number(found, "limit_maxbytes"),
        evicted=_number(found, "evictions"),
        entries=_number(found, "curr_items"),
    )


def redis(url: str) -> Answer:
    """Return the statistics of the Redis at a URL as redis-py reads it; for a child.

    Raises NotMeasured for a URL that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise NotMeasured(
            f"a Redis at a URL with the scheme {parts.scheme or 'none'} is not examined"
        )
    host, number = parts.hostname or "localhost", parts.path.strip("/") or "0"
    try:
        port = parts.port or REDIS_PORT
        place = f"{host}:{port}"
        with _connected(host, port, secure=parts.scheme == "rediss") as connection:
            if parts.password:
                login = [unquote(word) for word in (parts.username, parts.password) if word]
                _exchange(connection, _command("AUTH", *login), b"\r\n")
            answer_ms = min(_timed(connection, _command("PING"), b"\r\n") for _ in range(_PINGS))
            said = "".join(
                _exchange(connection, _command("INFO", name), b"\r\n\r\n")
                for name in ("memory", "stats")
            )
            # Without keys this part is but its heading.
            said += _exchange(connection, _command("INFO", "keyspace"), b"\r\n\r\n")
    except (OSError, ValueError, Failed) as error:
        return Answer(f"{host}:{parts.netloc.rpartition(':')[2]}", failed=_reason(error))
    found = dict(re.findall(r"^(\w+):(\S+)\r?$", said, re.M))
    keys = re.match(r"keys=(\d+),expires=(\d+)", found.get(f"db{number}", "")) or (0, 0, 0)
    return Answer(
        place,
        answer_ms=answer_ms,
        used=_number(found, "used_memory"),
        limit=_number(found, "maxmemory"),
        evicted=_number(found, "evicted_keys"),
        entries=int(keys[1]),
        policy=found.get("maxmemory_policy", ""),
        everlasting=int(keys[1]) - int(keys[2]),
    )


def _number(found: dict[str, str], name: str) -> int:
    value = found.get(name, "")
    return int(value) if value.isdigit() else 0


def _command(*words: str) -> bytes:
    """Write a command in the protocol of Redis, in which a word may be of any bytes."""
    octets: Sequence[bytes] = [word.encode() for word in words]
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in octets]
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


@contextlib.contextmanager
def _connected(host: str, port: int, secure: bool = False) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((host, port), ANSWER_SECONDS))
        if not secure:
            yield plain
            return
        yield stack.enter_context(
            ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        )


def _exchange(connection: socket.socket, request: bytes, end: bytes) -> str:
    """Send `request` and return the answer, which ends with `end`. Raises Failed for an error."""
    deadline = time.monotonic() + ANSWER_SECONDS
    connection.sendall(request)
    answer = b""
    while not answer.endswith(end) and len(answer) < _MOST_BYTES:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        received = connection.recv(65536)
        if not received:
            raise Failed("it closed the connection")
        answer += received
        if answer.startswith((b"-", b"ERROR")) and answer.endswith(b"\r\n"):
            raise Failed(answer.decode("ascii", "replace").strip())
    return answer.decode("utf-8", "replace")


def _timed(connection: socket.socket, request: bytes, end: bytes) -> float:
    started = time.perf_counter()
    _exchange(connection, request, end)
    return (time.perf_counter() - started) * 1000


def _reason(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return f"no answer in {ANSWER_SECONDS:g} s"
    return getattr(error, "strerror", None) or str(error)
