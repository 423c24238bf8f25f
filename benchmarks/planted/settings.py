"""Slips in the ini file and in the settings of the database."""

from __future__ import annotations

import os

from state import BIN, Planted, state


@state("WEB001")
def threads(planted: Planted) -> None:
    """Ten threads in one process."""
    planted.replace("\nthreads = 1\n", "\nthreads = 10\n")


@state("CFG001")
def debug(planted: Planted) -> None:
    """Debug = true."""
    planted.add("app:main", "debug = true")


@state("CFG004")
def misspelt(planted: Planted) -> None:
    """Misspelt options of caches, sessions and Celery."""
    planted.replace(
        "beaker.cache.long_term.expire =",
        "beaker.cache.long_term.exipre =",
        "session.timeout =",
        "session.timout =",
        "celery.worker_concurrency =",
        "celery.worker_concurency =",
    )


@state("CFG004", advice=True)
def outdated(planted: Planted) -> None:
    """Options of Kallithea 0.3 that nothing reads."""
    planted.add(
        "app:main", "beaker.session.type = file", "celeryd.concurrency = 2", "broker.host = here"
    )


@state("CFG004")
def doubled(planted: Planted) -> None:
    """A misspelt option beside the right one."""
    planted.add("app:main", "static_filse = true")


@state("WEB006")
def gunicorn_timeout(planted: Planted) -> None:
    """Gunicorn's own time limit of 30 s."""
    planted.use_gunicorn("workers = 3")


@state("WEB006")
def small_bodies(planted: Planted) -> None:
    """Waitress takes smaller bodies than a push of the largest repository."""
    repository = planted.repositories / "hg-one"
    (repository / "large.bin").write_bytes(os.urandom(5_000_000))
    planted.run(BIN / "hg", "commit", "-q", "-A", "-m", "Large", "-u", "x", cwd=repository)
    planted.replace("max_request_body_size = 107374182400", "max_request_body_size = 1048576")


@state("DB003", advice=True)
def no_timeout(planted: Planted) -> None:
    """SQLite without a time limit for locks."""
    planted.replace("kallithea.db?timeout=60", "kallithea.db")


@state("CFG008")
def rotating(planted: Planted) -> None:
    """A log handler that is not safe for several processes."""
    planted.use_gunicorn("workers = 3", "timeout = 3600")
    planted.replace(
        "[handler_console]\nclass = StreamHandler\nargs = (sys.stderr,)",
        "[handler_console]\nclass = handlers.RotatingFileHandler\n"
        f"args = ('{planted.directory}/kallithea.log', 'a', 10000, 3)",
    )


@state("HOOK001", advice=True)
def sleeping_hook(planted: Planted) -> None:
    """A hook that sleeps for ten seconds."""
    planted.sql(
        "INSERT INTO ui (ui_section, ui_key, ui_value, ui_active)"
        " VALUES ('hooks', 'changegroup.notify', 'sleep 10', 1)"
    )


@state("WEB015", advice=True)
def no_limits(planted: Planted) -> None:
    """The pages protect themselves with no limit."""
    planted.replace("cut_off_limit = 256000", "cut_off_limit = 0")
