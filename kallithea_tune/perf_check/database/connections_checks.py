"""How Kallithea's pool of connections fits the server's limits, and the database its memory."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.database.connections import PoolSettings, pool_in_use, pool_settings
from kallithea_tune.perf_check.database.facts import DatabaseFacts, Setting
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import IniEdit, Option, Remedy

USED_WARNING, USED_ERROR = 70, 90  # percent
MEBIBYTE = 1 << 20
RESERVED = 3  # superuser_reserved_connections, and the admin's own


@check(
    "DB008",
    "database-connections",
    "Connections used and allowed",
    measures=(configuration, sql_client, database_facts, pool_in_use),
    threshold=f"{USED_WARNING} and {USED_ERROR} %",
    source="postgresqltuner, connection information; SQLAlchemy, QueuePool",
    harm=Harm.access,
)
def connections(
    config: Configuration, client: SqlClient, facts: DatabaseFacts, pool: PoolSettings
) -> Iterator[Finding]:
    """Compare the connections in use, and those Kallithea may open, with what the server allows.

    When the server's last connection is taken, every further request fails.
    """
    if not facts.server:
        return
    used, allowed, may_open = facts.server.connections, facts.server.max_connections, pool.may_open
    used_percent = 100 * used / allowed
    finding = functools.partial(
        Finding,
        evidence={
            "used": used,
            "max_connections": allowed,
            "kallithea_may_open": may_open or "unknown",
        },
    )
    if used_percent > USED_WARNING:
        yield finding(
            Severity.error if used_percent > USED_ERROR else Severity.warning,
            f"{used} of the database server's {allowed} connections are in use",
            remedy=_more_connections(client, facts, allowed * 2),
        )
    elif may_open and may_open > allowed:
        yield finding(
            Severity.warning,
            f"Kallithea may open {may_open} connections, the server allows {allowed}",
            remedy=_smaller_pool(config.instance, pool, allowed)
            or _more_connections(client, facts, may_open * 2),
        )
    else:
        yield finding(Severity.ok, f"in use: {used} of the server's {allowed} connections")


def _more_connections(client: SqlClient, facts: DatabaseFacts, count: int) -> Remedy:
    if facts.innodb:
        return client.set_on_server(Setting("max_connections", ""), str(count), facts)
    return f"max_connections = {count} in the server's configuration, and restart it"


def _smaller_pool(instance: Instance, pool: PoolSettings, allowed: int) -> Remedy:
    """Return pools that together fit into `allowed` connections, "" where none does."""
    each = (allowed - RESERVED - pool.celery_workers) // (pool.processes or 1)
    if each < 1:
        return ""
    options = {"sqlalchemy.pool_size": 1, "sqlalchemy.max_overflow": min(each, 3) - 1}
    return IniEdit(tuple(Option(*instance.place(name), str(options[name])) for name in options))


@check(
    "DB011",
    "database-pool-recycle",
    "Age of pooled connections",
    measures=(configuration, database_facts, pool_settings),
    threshold="the idle timeout",
    source="SQLAlchemy manual, setting pool recycle; MariaDB manual, wait_timeout",
    harm=Harm.access,
)
def pool_recycle(
    config: Configuration, facts: DatabaseFacts, pool: PoolSettings
) -> Iterator[Finding]:
    """Compare ``sqlalchemy.pool_recycle`` with the server's limit for idle connections.

    A pooled connection that the server has closed meanwhile makes the next request fail.
    """
    if not facts.server:
        return
    engine, idle_timeout_s = facts.engine, facts.server.idle_timeout_s
    finding = functools.partial(
        Finding,
        evidence={
            "pool_recycle_s": pool.recycle_s,
            "pool_pre_ping": pool.pre_ping,
            "idle_timeout_s": idle_timeout_s,
        },
    )
    if idle_timeout_s <= 0:
        yield finding(Severity.ok, f"{engine} closes no idle connections")
    elif pool.pre_ping or 0 <= pool.recycle_s < idle_timeout_s:
        yield finding(Severity.ok, f"pooled connections are renewed before {engine} closes them")
    else:
        place = config.instance.place("sqlalchemy.pool_recycle")
        kept = "forever" if pool.recycle_s < 0 else f"for {pool.recycle_s} s"
        yield finding(
            Severity.warning,
            f"{engine} closes idle connections after {idle_timeout_s:g} s, "
            f"the pool keeps them {kept}",
            remedy=IniEdit((Option(*place, str(max(1, int(idle_timeout_s) // 2))),)),
        )


@check(
    "DB010",
    "database-buffer-pool",
    "InnoDB's buffer pool",
    measures=(sql_client, database_facts),
    threshold="the size of the database",
    source="our judgement",
)
def buffer_pool(client: SqlClient, facts: DatabaseFacts) -> Iterator[Finding]:
    """Compare innodb_buffer_pool_size with the size of the database: the rest is read from disk."""
    if not facts.innodb:
        return
    pool_mb, database_mb = facts.innodb.buffer_pool_bytes / 1e6, facts.size_bytes / 1e6
    disk_share = facts.innodb.page_reads / max(facts.innodb.page_requests, 1)
    finding = functools.partial(
        Finding,
        evidence={
            "buffer_pool_mb": pool_mb,
            "database_mb": database_mb,
            "read_from_disk_percent": 100 * disk_share,
        },
    )
    if database_mb <= pool_mb:
        yield finding(Severity.ok, "the database fits into InnoDB's buffer pool")
    else:
        advised = (facts.size_bytes * 5 // 4 // MEBIBYTE + 1) * MEBIBYTE
        yield finding(
            Severity.advice,
            f"the database ({database_mb:.0f} MB) is larger than InnoDB's buffer pool "
            f"({pool_mb:.0f} MB)",
            remedy=client.set_on_server(
                Setting("innodb_buffer_pool_size", ""), str(advised), facts
            ),
        )
