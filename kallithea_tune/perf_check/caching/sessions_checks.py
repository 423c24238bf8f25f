"""Whether every process that serves a user finds the user's session."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Optional, Sequence

from kallithea_tune.perf_check.caching.sessions import Sessions, sessions
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import app_options
from kallithea_tune.perf_check.servers.served import Servers, configured_servers, servers

BEAKER = "Beaker 1.14, session.py and container.py"


def judge_store(type: str, known: bool, processes: Optional[int], section: str) -> Finding:
    """Judge a type of store, known to Beaker or not, by which processes see a session in it."""
    in_files = app_options(section, {"session.type": "file"})
    finding = partial(
        Finding,
        source=BEAKER,
        evidence={"type": type, "processes": processes or "unknown"},
        threshold="seen by every process",
    )
    if not known:
        return finding(
            Severity.error,
            f"Beaker has no session type '{type}': every page fails",
            remedy=in_files,
        )
    if type == "memory":
        return finding(
            Severity.advice if processes == 1 else Severity.error,
            "sessions are in memory: a restart signs everybody out"
            if processes == 1
            else "sessions are in memory: each process knows only its own users",
            remedy=in_files,
        )
    if type in ("file", "dbm"):
        return finding(Severity.ok, "sessions are in files, which every process of this host sees")
    return finding(Severity.ok, f"sessions are kept by '{type}', which other hosts can see too")


def judge_sibling(name: str, differing: Sequence[str], directory: Optional[str]) -> Finding:
    """Judge another ini file for the same database by the `differing` settings of its sessions."""
    finding = partial(
        Finding,
        subject=name,
        source=BEAKER,
        evidence={"differing": list(differing) or "nothing"},
        threshold="nothing differs",
    )
    if not differing:
        return finding(Severity.ok, f"{name}, for the same database, shares the sessions")
    if "data_dir" in differing and directory:
        remedy = f"set session.data_dir = {directory} in both files"
    else:
        remedy = f"set session.{differing[0]} to the same value in both files"
    return finding(
        Severity.warning,
        f"{name} serves the same database, but does not share the sessions",
        remedy=remedy,
        confidence="medium",
    )


@check(
    "CAC005",
    "cache-sessions",
    "Sessions that not every process sees",
    measures=(sessions, servers),
    settings=(sessions, configured_servers),
    tags=("cache", "config"),
    harm=Harm.access,
)
def visibility(sessions: Sessions, measured: Servers) -> Iterator[Finding]:
    """Judge the store of the sessions, and each ini file for the same database."""
    if sessions.backend.failure:
        yield Finding(
            Severity.error,
            f"the session type {sessions.type} does not work: {sessions.backend.failure}",
            source=BEAKER,
            evidence={"type": sessions.type},
            remedy=app_options(
                sessions.section, {"session.type": "file"}, "or install what it needs"
            ),
        )
        return
    yield judge_store(sessions.type, sessions.known, measured.count, sessions.section)
    for sibling in sessions.siblings:
        yield judge_sibling(sibling.name, sibling.differing, sessions.directory)
