"""Where sessions are kept, and whether every process that serves a user finds them there."""

from __future__ import annotations

import glob
import os
from typing import Any, Iterator, Mapping, Optional, Sequence

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

BEAKER = "Beaker 1.14, session.py and container.py"
# More ini files than this beside one's own are not instances of one Kallithea.
MOST_SIBLINGS = 50


def judge_store(kind: str, known: bool, processes: Optional[int]) -> Finding:
    """Judge the kind of store by who sees a session in it; `known` says whether Beaker has such a
    store.
    """
    common: dict[str, Any] = {
        "source": BEAKER,
        "evidence": {"type": kind, "processes": processes or "unknown"},
        "threshold": "seen by every process",
    }
    if not known:
        return Finding(
            Severity.error,
            f"Beaker has no session type '{kind}': every page fails",
            remedy="set session.type = file",
            **common,
        )
    if kind == "memory":
        return Finding(
            Severity.advice if processes == 1 else Severity.error,
            "sessions are in memory: a restart signs everybody out"
            if processes == 1
            else "sessions are in memory: each process knows only its own users",
            remedy="set session.type = file",
            **common,
        )
    if kind in ("file", "dbm"):
        return Finding(
            Severity.ok, "sessions are in files, which every process of this host sees", **common
        )
    return Finding(
        Severity.ok, f"sessions are kept by '{kind}', which other hosts can see too", **common
    )


def judge_sibling(name: str, differing: Sequence[str], directory: Optional[str]) -> Finding:
    """Judge another ini file for the same database by the `differing` settings of its sessions."""
    common: dict[str, Any] = {
        "subject": name,
        "source": BEAKER,
        "evidence": {"differing": list(differing) or "nothing"},
        "threshold": "nothing differs",
    }
    if not differing:
        return Finding(Severity.ok, f"{name}, for the same database, shares the sessions", **common)
    if "data_dir" in differing and directory:
        remedy = f"set session.data_dir = {directory} in both files"
    else:
        remedy = f"give session.{differing[0]} one value in both files"
    return Finding(
        Severity.warning,
        f"{name} serves the same database, but does not share the sessions",
        remedy=remedy,
        confidence="medium",
        **common,
    )


def session_settings(settings: Mapping[str, str]) -> dict[str, Optional[str]]:
    """Return what two instances must have in common for one to accept the other's sessions."""
    kind = beaker_config.session_type(settings)
    directory = beaker_config.session_directory(settings)
    return {
        "type": kind,
        "data_dir": os.path.realpath(directory) if directory else None,
        "sa.url": settings.get("session.sa.url"),
        "url": settings.get("session.url"),
        "key": settings.get("session.key"),
        "secret": settings.get("session.secret"),
    }


def siblings(instance: Instance) -> Iterator[tuple[str, Instance]]:
    """Yield the other ini files of the same directory that run the same application on the same
    database.
    """
    if not instance.database_url:
        return
    for path in sorted(
        glob.glob(os.path.join(glob.escape(os.path.dirname(instance.path)), "*.ini"))
    )[:MOST_SIBLINGS]:
        if path != instance.path:
            try:
                other = load(f"{path}#{instance.name}")
            except TuneError:
                continue
            if (other.use, other.database_url) == (instance.use, instance.database_url):
                yield os.path.basename(path), other


@check(
    "CAC005",
    "cache-sessions",
    "Sessions that not every process sees",
    "caching",
    tags=("cache", "config"),
)
def sessions(context: Context) -> Iterator[Finding]:
    """Read where Beaker keeps the sessions, here and in the ini files beside this one that name the
    same database.

    A session in memory is known to one process only: with several, users are asked to sign in again
    at random. Files are seen by every process of a host. Two instances that a balancer treats as
    one must share directory, cookie name and secret; otherwise a user loses the session with the
    instance. Other hosts are not seen from here.
    """
    settings = context.instance.settings
    kind = beaker_config.session_type(settings)
    try:
        known = kind == "cookie" or beaker_config.accepted_options(kind) is not None
    except NotMeasured as error:
        yield Finding(
            Severity.error,
            f"the session type {kind} does not work: {error}",
            source=BEAKER,
            evidence={"type": kind},
            remedy="install what it needs, or set session.type = file",
        )
        return
    yield judge_store(kind, known, server_of(context.instance).processes)
    mine = session_settings(settings)
    for name, other in siblings(context.instance):
        theirs = session_settings(other.settings)
        yield judge_sibling(
            name, [key for key in mine if mine[key] != theirs[key]], mine["data_dir"]
        )
