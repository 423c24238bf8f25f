"""How the ini file sets up the pool of connections, and how many connections Kallithea may open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Optional

from kallithea_tune.config.instance import as_bool
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.servers.served import servers

# SQLAlchemy's own defaults (QueuePool).
POOL_SIZE, MAX_OVERFLOW, NEVER = 5, 10, -1


@dataclass(frozen=True)
class PoolSettings:
    """The connection pool of each process; `recycle_s` is negative for never.

    `processes` and `threads` are None where the ini file does not set them; `celery_workers` is 0
    unless Celery is used.
    """

    pool_size: int = POOL_SIZE
    max_overflow: int = MAX_OVERFLOW
    recycle_s: int = NEVER
    pre_ping: bool = False
    processes: Optional[int] = None
    threads: Optional[int] = None
    celery_workers: int = 0

    @property
    def may_open(self) -> Optional[int]:
        """The most connections of all processes, None where the ini file does not set them.

        A server process opens no more than its pool allows and it has threads, a Celery worker one.
        """
        if not self.processes:
            return None
        pool = self.pool_size + self.max_overflow
        return self.processes * min(self.threads or pool, pool) + self.celery_workers

    @property
    def examined(self) -> Examined:
        """The ini file."""
        return Examined(1, 1, "ini file")


@measurement()
def pool_settings(context: Context) -> PoolSettings:
    """Read the pool's settings, the server's processes and threads, and Celery's workers."""
    settings, server = context.instance.settings, server_of(context.instance)
    celery_workers = 0
    if as_bool(settings.get("use_celery", "false")):
        workers = settings.get("celery.worker_concurrency", "1").strip()
        celery_workers = int(workers) if workers.isdigit() else 1
    return PoolSettings(
        pool_size=engine_option(settings, "pool_size", POOL_SIZE),
        max_overflow=engine_option(settings, "max_overflow", MAX_OVERFLOW),
        recycle_s=engine_option(settings, "pool_recycle", NEVER),
        pre_ping=as_bool(settings.get("sqlalchemy.pool_pre_ping", "false")),
        processes=server.processes,
        threads=server.threads,
        celery_workers=celery_workers,
    )


@measurement(uses=(pool_settings, servers))
def pool_in_use(context: Context) -> PoolSettings:
    """Read the pool's settings, with the processes and threads of the servers that run."""
    settings, found = context.measure(pool_settings), context.measure(servers)
    count = found.processes.count_for(found.first)
    return replace(settings, processes=count, threads=found.first.threads)


def engine_option(settings: Mapping[str, str], name: str, default: int) -> int:
    """Return the whole number in ``sqlalchemy.<name>``, or the default."""
    try:
        return int(settings.get("sqlalchemy." + name, "").strip())
    except ValueError:
        return default
