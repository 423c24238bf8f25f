"""Stores of sessions on servers: judged by tables, and made and questioned for real.

What full servers answer was recorded from Redis 7.0.15 and memcached 1.6.18.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import pytest
import sqlalchemy
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.caching import servers
from kallithea_tune.perf_check.caching.servers import Answer
from kallithea_tune.perf_check.caching.stores import SESSIONS, Rows, Store
from kallithea_tune.perf_check.caching.stores_checks import judge_answer, judge_rows, store_state
from kallithea_tune.perf_check.database.client import client_of
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

STORE = Store(SESSIONS, "ext:redis", "session.type")
REGION = Store("long_term", "ext:redis", "beaker.cache.long_term.type")
MB = 1_000_000
SERVERS = ("postgresql", "mariadb")
FINE = Answer("db:6379", answer_ms=0.2, used=MB, limit=9 * MB, entries=50, policy="noeviction")


@pytest.mark.parametrize(
    "store, change, severity, said, remedy",
    [
        (STORE, {}, Severity.ok, "answers in 0.2 ms", ""),
        (STORE, {"failed": "refused"}, Severity.error, "every page", "session.type = file"),
        (REGION, {"failed": "refused"}, Severity.error, "cache is lost", "long_term.type = file"),
        (STORE, {"answer_ms": 21.0}, Severity.advice, "21 ms a request", "this host"),
        (STORE, {"used": 8.1 * MB}, Severity.error, "is full", "maxmemory-policy allkeys-lru"),
        (STORE, {"used": 9 * MB, "policy": ""}, Severity.ok, "answers", ""),
        (STORE, {"evicted": 1}, Severity.warning, "signed out", "more than 9 MB"),
        (REGION, {"evicted": 1}, Severity.ok, "answers", ""),
        (STORE, {"everlasting": 10_000}, Severity.ok, "answers", ""),
        (
            replace(STORE, timeout=False),
            {"everlasting": 10_000},
            Severity.warning,
            "never expire",
            "session.timeout = 2592000",
        ),
    ],
)
def test_a_server_is_judged_by_its_answer(
    store: Store, change: Mapping[str, Any], severity: Severity, said: str, remedy: str
) -> None:
    found = judge_answer(store, replace(FINE, **change), "app:main")
    assert (found.severity, said in found.diagnosis) == (severity, True), found
    assert remedy in str(found.remedy) and bool(found.remedy) is bool(remedy)


@pytest.mark.parametrize(
    "rows, old, severity",
    [
        (99_999, 9_999, Severity.ok),
        (99_999, 10_000, Severity.advice),
        (100_000, 0, Severity.warning),
    ],
)
def test_rows_are_judged_by_number_and_age(rows: int, old: int, severity: Severity) -> None:
    client = client_of("postgresql://kallithea@db/kallithea")
    found = judge_rows(STORE, Rows("beaker_cache", rows, old, 30), client)
    assert found.severity is severity and bool(found.remedy) is (severity > Severity.ok)
    days = 30 if old else 7
    assert not found.remedy or f"LOCALTIMESTAMP - INTERVAL '\"'\"'{days} days" in str(found.remedy)


@contextlib.contextmanager
def server(answers: Mapping[bytes, bytes]) -> Iterator[int]:
    """Listen, and answer what contains a key with its value; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer, args=(listening, answers), daemon=True).start()
        yield listening.getsockname()[1]


def _answer(listening: socket.socket, answers: Mapping[bytes, bytes]) -> None:
    with contextlib.suppress(OSError):
        connection, _ = listening.accept()
        with connection:
            while True:
                request = connection.recv(65536)
                if not request:
                    return
                for key, answer in answers.items():
                    if key in request:
                        connection.sendall(answer)


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


REDIS = {
    b"AUTH": b"+OK\r\n",
    b"PING": b"+PONG\r\n",
    b"memory": bulk(
        b"# Memory\r\nused_memory:2135384\r\nmaxmemory:2097152\r\nmaxmemory_policy:noeviction\r\n"
    ),
    b"stats": bulk(b"# Stats\r\nexpired_keys:0\r\nevicted_keys:1539\r\n"),
    b"keyspace": bulk(
        b"# Keyspace\r\ndb0:keys=7,expires=7\r\ndb1:keys=9400,expires=2,avg_ttl=0\r\n"
    ),
}


def test_redis_is_questioned_in_its_protocol() -> None:
    with server(REDIS) as port:
        found = servers.redis(f"redis://:s3cr3t@127.0.0.1:{port}/1")
    assert not found.failed and found.answer_ms > 0
    assert replace(found, answer_ms=0.0) == Answer(
        f"127.0.0.1:{port}",
        used=2135384,
        limit=2097152,
        evicted=1539,
        entries=9400,
        policy="noeviction",
        everlasting=9398,
    )


def test_memcached_is_questioned_in_its_protocol() -> None:
    stats = b"STAT limit_maxbytes 2097152\r\nSTAT bytes 77\r\nSTAT curr_items 3\r\n"
    with server(
        {b"stats": stats + b"STAT evictions 5\r\nEND\r\n", b"version": b"VERSION 1.6.18\r\n"}
    ) as port:
        found = servers.memcached(f"127.0.0.1:{port}")
    assert (found.used, found.limit, found.evicted, found.entries) == (77, 2097152, 5, 3)
    assert not found.failed


@pytest.mark.parametrize(
    "answers, said",
    [
        ({b"PING": b"-NOAUTH Authentication required.\r\n"}, "NOAUTH"),
        ({b"PING": b""}, "no answer in 1 s"),
    ],
)
def test_a_refusal_and_silence_are_failures(answers: Mapping[bytes, bytes], said: str) -> None:
    with server(answers) as port:
        assert said in servers.redis(f"redis://127.0.0.1:{port}/0").failed


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = "127.0.0.1:%d" % taken.getsockname()[1]
    assert servers.memcached(place).failed == "Connection refused"


def bad(ini: Path) -> list[Finding]:
    found = list(store_state.findings(Context(load(str(ini)), Deadline(60))))
    return [item for item in found if item.severity is not Severity.ok]


@pytest.mark.parametrize(
    "options, said",
    [
        ("ext:database\nsession.url = sqlite:///%(here)s/sessions.db", "columns argument"),
        ("ext:database\nsession.sa.url = sqlite:///%(here)s/sessions.db", "sa.url"),
        ("ext:sqla\nsession.url = sqlite:///%(here)s/sessions.db", "positional arguments"),
        ("ext:memcached\nsession.url = 127.0.0.1:1", "memcache"),
        ("cookie", "no session.validate_key"),
    ],
)
def test_a_store_with_which_every_page_fails(
    instance: Path, edit: Callable[..., None], options: str, said: str
) -> None:
    """As Kallithea itself does: Beaker 1.14 is not made for SQLAlchemy 1.3, and so on."""
    edit(instance, "session.key = ", f"session.type = {options}\nsession.key = ")
    found = [item for item in bad(instance) if item.severity is Severity.error][0]
    assert said in found.diagnosis and "every page fails" in found.diagnosis
    carry_out(found.remedy, instance)
    assert bad(instance) == []


def fill(url: str) -> None:
    """Make Beaker's table as it does, with 500 rows of yesterday and 11,500 old ones."""
    engine = sqlalchemy.create_engine(url)
    table = sqlalchemy.Table(
        "beaker_cache",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("namespace", sqlalchemy.String(255), nullable=False, unique=True),
        sqlalchemy.Column("accessed", sqlalchemy.DateTime, nullable=False),
        sqlalchemy.Column("created", sqlalchemy.DateTime, nullable=False),
        sqlalchemy.Column("data", sqlalchemy.PickleType, nullable=False),
    )
    table.create(engine)
    now = datetime.datetime.now()
    rows = [
        {
            "namespace": f"{number:032x}",
            "accessed": now - datetime.timedelta(days=1 if number < 500 else 31),
            "created": now,
            "data": {},
        }
        for number in range(12_000)
    ]
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)
    engine.dispose()


@pytest.mark.parametrize(
    "engine", ["sqlite", *(pytest.param(name, marks=pytest.mark.once) for name in SERVERS)]
)
def test_old_rows_of_a_database_are_gone_after_the_remedy(
    instance: Path, edit: Callable[..., None], request: pytest.FixtureRequest, engine: str
) -> None:
    if engine == "sqlite":
        url, variables = f"sqlite:///{instance.parent}/sessions.db", {}
    else:
        server = request.getfixturevalue(engine)
        url = server.url("beaker_sessions")
        variables = {"PGPASSWORD": server.password, "MYSQL_PWD": server.password}
    fill(url)
    kept = f"session.type = ext:database\nsession.url = {url}".replace("%", "%%")
    edit(instance, "session.key = ", f"{kept}\nsession.key = ")
    (found,) = [item for item in bad(instance) if item.severity is Severity.advice]
    assert found.diagnosis == "of 12000 rows in beaker_cache, 11500 were not used for 30 days"
    carry_out(found.remedy, instance, variables)
    assert not [item for item in bad(instance) if item.severity is Severity.advice]
    left = sqlalchemy.create_engine(url).execute("SELECT count(*) FROM beaker_cache").scalar()
    assert left == 500


def test_files_need_no_such_store(pristine: Path) -> None:
    assert bad(pristine / "my.ini") == []
