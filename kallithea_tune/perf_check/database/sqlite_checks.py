"""What only SQLite has: one file, its locks, and how long a request waits for one."""

from __future__ import annotations

import functools
import re
from typing import Iterator

from kallithea_tune.perf_check.database.client import url_edit
from kallithea_tune.perf_check.database.sqlite import (
    DRIVER_TIMEOUT_S,
    Integrity,
    SqliteFileSystem,
    SqliteSettings,
    sqlite_file_system,
    sqlite_in_use,
    sqlite_integrity,
    sqlite_settings,
)
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.text import shell_word

TEMPLATE_TIMEOUT_S = 60


@check(
    "DB001",
    "sqlite-sharing",
    "SQLite on a network or with several processes",
    measures=(sqlite_in_use, sqlite_file_system),
    settings=(sqlite_settings, sqlite_file_system),
    threshold="a local file system, 1 process",
    source="https://www.sqlite.org/whentouse.html, checklist for choosing the right engine",
    tags=("config",),
    harm=Harm.loss,
)
def sharing(settings: SqliteSettings, file_system: SqliteFileSystem) -> Iterator[Finding]:
    """Report a SQLite file on a network file system, or one that several processes share.

    SQLite relies on file locks, which network file systems often get wrong, and lets one process
    write at a time.
    """
    if not settings.path:
        return
    finding = functools.partial(
        Finding,
        evidence={
            "file_system": file_system.type or "unknown",
            "processes": settings.processes or "not configured",
        },
    )
    if file_system.is_network:
        yield finding(
            Severity.error,
            f"the SQLite file is on a network file system ({file_system.type})",
            remedy="move the file to a local disk, or use PostgreSQL or MariaDB",
        )
    elif settings.processes is not None and settings.processes > 1:
        yield finding(
            Severity.advice,
            f"{settings.processes} processes share one SQLite file; only one at a time can write",
            remedy="see DB004 for their waits; --compare-db URL measures another engine",
        )
    else:
        yield finding(Severity.ok, "the SQLite file is local and used by one server process")


@check(
    "DB003",
    "sqlite-timeout",
    "Busy timeout of SQLite",
    measures=(configuration, sqlite_settings),
    threshold=f"more than the driver's {DRIVER_TIMEOUT_S:g} s",
    source=(
        f"Python manual, sqlite3.connect: timeout={DRIVER_TIMEOUT_S}; "
        f"Kallithea's ini template: ?timeout={TEMPLATE_TIMEOUT_S}"
    ),
    tags=("config",),
    harm=Harm.access,
)
def timeout(config: Configuration, settings: SqliteSettings) -> Iterator[Finding]:
    """Report a busy timeout that is no longer than the default of Python's driver."""
    if not settings.path:
        return
    timeout_s = settings.waits_s
    evidence = {"timeout_s": timeout_s, "set": settings.timeout_s is not None}
    if timeout_s > DRIVER_TIMEOUT_S:
        message = f"a request waits up to {timeout_s:g} s for a lock"
        yield Finding(Severity.ok, message, evidence=evidence)
    else:
        yield Finding(
            Severity.advice,
            f"a request fails when it has waited {timeout_s:g} s for a lock",
            evidence=evidence,
            remedy=url_edit(config.instance, _with_timeout),
        )


def _with_timeout(url: str) -> str:
    argument = f"timeout={TEMPLATE_TIMEOUT_S}"
    changed, found = re.subn(r"(?<=[?&])timeout=[^&]*", argument, url)
    return changed if found else url + ("&" if "?" in url else "?") + argument


@check(
    "DB012",
    "sqlite-integrity",
    "Integrity of the SQLite file",
    measures=(sqlite_integrity,),
    threshold="no complaint",
    source="https://www.sqlite.org/pragma.html#pragma_quick_check",
    harm=Harm.loss,
)
def integrity(result: Integrity) -> Iterator[Finding]:
    """Report any complaint of ``PRAGMA quick_check``: a damaged file gets worse with each write."""
    if not result.path:
        return
    file = shell_word(result.path)
    finding = functools.partial(
        Finding, evidence={"complete": result.complete, "took_ms": result.took_ms}
    )
    if result.complaints:
        recover = f"sqlite3 {file} .recover | sqlite3 recovered.db"
        yield finding(
            Severity.error,
            f"the SQLite file is damaged: {result.complaints[0]}",
            remedy=f"stop Kallithea, restore a backup, or: {recover}",
        )
    elif not result.complete:
        seconds = result.took_ms / 1000
        yield finding(
            Severity.advice,
            f"the SQLite file is too large to be checked completely in {seconds:.2g} s",
            remedy=f"at a quiet hour: sqlite3 {file} 'PRAGMA quick_check'",
            confidence="low",
        )
    else:
        yield finding(Severity.ok, "SQLite finds no damage in its file")
