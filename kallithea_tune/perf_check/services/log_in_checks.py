"""Whether the servers of log-in plug-ins answer, and how long a log-in waits where they do not."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Sequence

from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Remedy
from kallithea_tune.perf_check.services.log_in import LogIns, PlugIn, log_ins
from kallithea_tune.perf_check.services.servers import (
    LIMIT_SECONDS,
    Protocol,
    Reply,
    Security,
    Server,
)
from kallithea_tune.text import counted, first_of

SLOW_MS = 500
# kallithea/lib/auth_modules/auth_ldap.py: for a connection, and for an answer. Measured: with
# LDAPS, libldap 2.5 waits without end for a server that accepts and is silent.
LDAP_CONNECT_SECONDS, LDAP_ANSWER_SECONDS = 10, 20
TCP_SECONDS = 127  # Linux gives up connecting then, with its default of tcp_syn_retries, 6


HOSTS = "start it, or remove it from the hosts in Admin > Settings > Authentication"


@dataclass(frozen=True)
class Waits:
    """How long a log-in waits for servers that are silent, and whether one then answers."""

    seconds: float = 0.0
    answered: bool = False


def waits_for(servers: Sequence[Server], replies: Sequence[Reply]) -> Waits:
    """Follow a log-in through the servers of a plug-in, as Kallithea and libldap do."""
    seconds = 0.0
    for server, reply in zip(servers, replies):
        if not reply.failed:
            return Waits(seconds, True)
        if reply.silent and reply.connected:
            # No other server is used after one that has accepted the connection.
            ldap = server.protocol is Protocol.ldap and server.security is not Security.at_once
            return Waits(seconds + LDAP_ANSWER_SECONDS if ldap else math.inf)
        if reply.silent:
            seconds += LDAP_CONNECT_SECONDS if server.protocol is Protocol.ldap else TCP_SECONDS
    return Waits(seconds)


@check(
    "AUTH001",
    "log-in-servers",
    "Servers that log-ins wait for",
    measures=(log_ins, sql_client),
    threshold=f"an answer within {LIMIT_SECONDS:g} s",
    source="our judgement; kallithea/lib/auth_modules",
    harm=Harm.access,
    tags=("probe", "log-in"),
)
def log_in_servers(measured: LogIns, client: SqlClient) -> Iterator[Finding]:
    """Judge each plug-in that has a server."""
    if not measured.plug_ins:
        yield Finding(Severity.ok, "log-ins wait for no other server")
    for item in measured.plug_ins:
        if item.name == "ldap" and not measured.has_ldap:
            yield _without_library()
        if item.servers:
            yield judge(item, measured.replies[item.name], measured.at_once, client)


def judge(
    item: PlugIn, replies: Sequence[Reply], at_once: Optional[int], client: SqlClient
) -> Finding:
    """Judge the servers of one plug-in; `at_once` requests are served at the same time."""
    waits = waits_for(item.servers, replies)
    failed = [(s, r) for s, r in zip(item.servers, replies) if r.failed]
    evidence: dict[str, object] = {
        "servers": [
            f"{server}: {reply.failed or f'{reply.ms:.0f} ms'}"
            for server, reply in zip(item.servers, replies)
        ]
    }
    if at_once:
        evidence["requests_at_once"] = at_once
    if waits.answered and not waits.seconds:
        return _answered(item, evidence, failed, max(r.ms for r in replies))
    name = _name(item, failed)
    finite = waits.seconds if math.isfinite(waits.seconds) else 0.0
    return Finding(
        Severity.warning if waits.answered else Severity.error,
        _waiting(waits, name, at_once)
        if waits.seconds
        else f"{name} fails: {failed[0][1].failed}, so its users cannot log in",
        item.name,
        evidence,
        remedy=HOSTS if waits.answered else _disable(item, client),
        impact_ms=finite * 1000 or None,
        impact_per="log-in" if finite else "",
    )


def _disable(item: PlugIn, client: SqlClient) -> Remedy:
    sql = (
        "UPDATE settings SET app_settings_value = 'False' "
        f"WHERE app_settings_name = 'auth_{item.name}_enabled'"
    )
    return client.statements(sql, "start it; until it answers, disable its plug-in")


def _name(item: PlugIn, failed: Sequence[tuple[Server, Reply]]) -> str:
    of = "" if len(item.servers) == 1 else f"{len(failed)} of {len(item.servers)} servers of "
    return f"{of}{item.name} ({first_of([str(server) for server, _ in failed], 1)})"


def _waiting(waits: Waits, name: str, at_once: Optional[int]) -> str:
    time = f"{waits.seconds:.0f} s" if math.isfinite(waits.seconds) else "indefinitely"
    thread = f"1 of {counted(at_once, 'thread')}" if at_once else "a thread of the server"
    return (
        f"log-ins of users other than internal ones wait {time} for {name}, each holding {thread}"
    )


def _answered(
    item: PlugIn,
    evidence: Mapping[str, object],
    failed: Sequence[tuple[Server, Reply]],
    slowest: float,
) -> Finding:
    if failed:
        return Finding(
            Severity.advice,
            f"{_name(item, failed)} fails: {failed[0][1].failed}; no log-in waits for it",
            item.name,
            evidence,
            remedy=HOSTS,
        )
    if slowest > SLOW_MS:
        return Finding(
            Severity.advice,
            f"log-ins, pulls and pushes of its users wait {slowest:.0f} ms for {item.name}",
            item.name,
            evidence,
            threshold=f"{SLOW_MS} ms",
            remedy="use a server that is nearer or less busy",
            impact_ms=slowest,
            impact_per=f"log-in by {item.name}",
        )
    return Finding(Severity.ok, f"{item.name} answers in {slowest:.0f} ms", item.name, evidence)


def _without_library() -> Finding:
    return Finding(
        Severity.error,
        "nobody can log in through LDAP: python-ldap is not installed in this Python",
        "python-ldap",
        {"python": sys.executable},
        "it is installed",
        "kallithea/lib/auth_modules/auth_ldap.py",
        Command((sys.executable, "-m", "pip", "install", "python-ldap")),
    )
