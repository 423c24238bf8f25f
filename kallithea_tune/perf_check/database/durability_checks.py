"""What a crash or a power cut may cost: the last commits, or the database."""

from __future__ import annotations

import re
from typing import Iterator, Mapping, NamedTuple, Optional

from kallithea_tune.perf_check.database.client import URL, SqlClient, sql_client, url_edit
from kallithea_tune.perf_check.database.facts import DatabaseFacts, Setting
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy

# https://www.sqlite.org/uri.html and https://www.sqlite.org/vfs.html: each has SQLite take no lock.
_UNLOCKED = re.compile(r"[?&](?P<argument>(nolock|immutable)=(1|on|true|yes)|vfs=unix-none)\b")


class Rule(NamedTuple):
    """Which `values` of a setting are a risk, how bad, what it is, and the value to set.

    Where the server can only be restarted to change it, `dynamic` is false.
    """

    values: tuple[str, ...]
    severity: Severity
    risk: str
    right: str
    dynamic: bool = True


_TORN = "a page that was half written in a power cut cannot be repaired"
_PROCESS = "a crash of the server loses the commits of the last second"
_MACHINE = "a power cut loses the commits of the last second"
RULES: Mapping[str, Rule] = {
    "fsync": Rule(("off",), Severity.error, "a power cut can destroy the database", "on"),
    "full_page_writes": Rule(("off",), Severity.warning, _TORN, "on"),
    "synchronous_commit": Rule(
        ("off",),
        Severity.advice,
        "a crash loses the commits of the last moment, nothing else",
        "on",
    ),
    "innodb_flush_method": Rule(
        ("nosync", "littlesync"),
        Severity.error,
        "a power cut can destroy the database",
        "fsync",
        dynamic=False,
    ),
    "innodb_doublewrite": Rule(
        ("OFF", "0", "DETECT_ONLY"), Severity.warning, _TORN, "ON", dynamic=False
    ),
    "sync_binlog": Rule(
        ("0",), Severity.advice, "a power cut loses the end of the binary log, for replicas", "1"
    ),
}
SHOWN = {*RULES, "innodb_flush_log_at_trx_commit", "synchronous", "data_checksums"}
_FLUSHED: Mapping[str, Rule] = {
    "0": Rule(("0",), Severity.warning, _PROCESS, "1"),
    "2": Rule(("2",), Severity.advice, _MACHINE, "1"),
}


@check(
    "DB015",
    "database-durability",
    "What a crash may cost",
    measures=(configuration, sql_client, database_facts),
    threshold="nothing that was committed",
    source=(
        "PostgreSQL manual, write ahead log settings; MariaDB manual, InnoDB system variables; "
        "https://www.sqlite.org/pragma.html#pragma_synchronous"
    ),
    tags=("durability",),
    harm=Harm.loss,
)
def durability(config: Configuration, client: SqlClient, facts: DatabaseFacts) -> Iterator[Finding]:
    """Report settings with which a crash loses what was committed, or the database."""
    found = list(_unlocked(config) if facts.sqlite else ())
    found += filter(None, (_judged(setting, facts, client) for setting in facts.settings))
    yield from found
    if facts.settings and not found:
        yield Finding(
            Severity.ok,
            f"{facts.engine} keeps what is committed on disk",
            evidence={item.name: item.value for item in facts.settings if item.name in SHOWN},
        )


def _unlocked(config: Configuration) -> Iterator[Finding]:
    """The URL may have SQLite take no locks; the file is damaged then by the second writer."""
    found = _UNLOCKED.search(config.instance.database_url)
    if found:
        argument = found["argument"]
        pattern = re.compile(rf"(?<=[?&]){re.escape(argument)}&?")
        yield Finding(
            Severity.error,
            f"{URL} has {argument}: SQLite takes no locks, and two writers destroy the file",
            subject=argument,
            evidence={"argument": argument},
            source="https://www.sqlite.org/uri.html",
            remedy=url_edit(config.instance, lambda url: pattern.sub("", url).rstrip("?&")),
        )


def _judged(setting: Setting, facts: DatabaseFacts, client: SqlClient) -> Optional[Finding]:
    rule = _rule(setting, facts)
    if not rule or setting.value.lower() not in map(str.lower, rule.values):
        return None
    return Finding(
        rule.severity,
        f"{setting.name} = {setting.value}: {rule.risk}",
        subject=setting.name,
        evidence={
            setting.name: setting.value,
            **({"set_in": setting.source} if setting.source else {}),
        },
        threshold=f"{setting.name} = {rule.right}",
        remedy=_remedy(setting, rule, facts, client),
    )


def _rule(setting: Setting, facts: DatabaseFacts) -> Optional[Rule]:
    if setting.name == "innodb_flush_log_at_trx_commit":
        return _FLUSHED.get(setting.value)
    if setting.name == "sync_binlog" and facts.setting("log_bin").value != "ON":
        return None
    if setting.name == "synchronous":
        return _synchronous(facts)
    return RULES.get(setting.name)


def _synchronous(facts: DatabaseFacts) -> Rule:
    """Return the rule of PRAGMA synchronous, which is 0 for OFF, 1 for NORMAL, 2 for FULL."""
    if facts.sqlite and facts.sqlite.journal_mode == "wal":
        return Rule(("0",), Severity.error, "a power cut can destroy the file", "FULL")
    return Rule(("0", "1"), Severity.error, "a power cut can destroy the file", "FULL")


def _remedy(setting: Setting, rule: Rule, facts: DatabaseFacts, client: SqlClient) -> Remedy:
    if client.dialect == "sqlite":
        return "use a Python whose SQLite was built with its own SQLITE_DEFAULT_SYNCHRONOUS=2"
    if not rule.dynamic:
        line = f"{setting.name} = {rule.right} below [mysqld] in the server's configuration"
        return f"{line}, and restart the server"
    return client.set_on_server(setting, rule.right, facts)
