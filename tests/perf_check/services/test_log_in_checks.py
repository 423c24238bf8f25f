"""Log-in plug-ins in a real database, and real servers for them."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import pytest
from carry_out import carry_out
from servers.talking import answering_http, mute

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database.client import client_of
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.services.log_in import LogIns, PlugIn, plug_ins_of
from kallithea_tune.perf_check.services.log_in_checks import (
    Waits,
    judge,
    log_in_servers,
    waits_for,
)
from kallithea_tune.perf_check.services.servers import Protocol, Reply, Security, Server

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
CLIENT = client_of("sqlite:////srv/kallithea.db")
PLUG_IN = "kallithea.lib.auth_modules.auth_"
GOOD = Reply(5.0, connected=True)
MUTE = Reply(failed="nothing within 2 s", silent=True, connected=True)
HOLE = Reply(failed="nothing within 2 s", silent=True)
REFUSED = Reply(failed="Connection refused")
LDAP = Server(Protocol.ldap, "a", 389)
LDAPS = Server(Protocol.ldap, "a", 636, Security.at_once)
CROWD = Server(Protocol.http, "a", 8095)


@pytest.mark.parametrize(
    "server, replies, waits",
    [
        (CROWD, [GOOD], Waits(0.0, True)),
        (CROWD, [MUTE], Waits(math.inf)),
        (CROWD, [HOLE], Waits(127.0)),
        (CROWD, [REFUSED], Waits(0.0)),
        (LDAP, [MUTE, GOOD], Waits(20.0)),
        (LDAP, [HOLE, GOOD], Waits(10.0, True)),
        (LDAP, [HOLE, MUTE], Waits(30.0)),
        (LDAP, [REFUSED, GOOD], Waits(0.0, True)),
        (LDAP, [GOOD, MUTE], Waits(0.0, True)),
        (LDAPS, [MUTE, GOOD], Waits(math.inf)),
    ],
)
def test_a_log_in_waits_as_kallithea_and_libldap_do(
    server: Server, replies: Sequence[Reply], waits: Waits
) -> None:
    assert waits_for([server] * len(replies), replies) == waits


@pytest.mark.parametrize(
    "server, replies, severity, words",
    [
        (CROWD, [GOOD], Severity.ok, "answers in 5 ms"),
        (
            CROWD,
            [MUTE],
            Severity.error,
            "wait indefinitely for crowd (a:8095), each holding 1 of 4",
        ),
        (CROWD, [REFUSED], Severity.error, "crowd (a:8095) fails: Connection refused"),
        (CROWD, [Reply(900.0, connected=True)], Severity.advice, "wait 900 ms"),
        (LDAP, [HOLE, GOOD], Severity.warning, "wait 10 s for 1 of 2 servers of crowd (a:389)"),
        (LDAP, [GOOD, REFUSED], Severity.advice, "1 of 2 servers of crowd"),
    ],
)
def test_a_plug_in_is_judged_by_what_a_log_in_waits(
    server: Server, replies: Sequence[Reply], severity: Severity, words: str
) -> None:
    finding = judge(PlugIn("crowd", (server,) * len(replies)), replies, 4, CLIENT)
    assert finding.severity is severity and words in finding.diagnosis


def test_plug_ins_are_those_that_are_enabled_in_their_order() -> None:
    names = ("ldap", "internal", "crowd", "pam", "container")
    settings = {
        "auth_plugins": ",".join(PLUG_IN + name for name in names) + ",other.plugin",
        **{f"auth_{name}_enabled": "True" for name in names},
        "auth_ldap_host": "one, two",
        "auth_ldap_tls_kind": "START_TLS",
        "auth_crowd_enabled": "False",
    }
    ldap, pam, other = plug_ins_of(settings)
    assert ldap.servers == (
        Server(Protocol.ldap, "one", 389, Security.on_request),
        Server(Protocol.ldap, "two", 389, Security.on_request),
    )
    assert [(item.name, item.servers) for item in (pam, other)] == [
        ("pam", ()),
        ("other.plugin", ()),
    ]
    assert LogIns((ldap, pam)).examined.rest.startswith("1 of 2 log-in plug-ins")
    crowd = {**settings, "auth_crowd_enabled": "True", "auth_crowd_method": "https"}
    (server,) = plug_ins_of(crowd)[1].servers
    assert (server.port, server.security) == (8095, Security.at_once)


def use(instance: Path, **settings: object) -> None:
    """Enable plug-ins as the page Admin > Settings > Authentication does."""
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as database:
        for name, value in settings.items():
            database.execute("DELETE FROM settings WHERE app_settings_name = ?", [name])
            database.execute(
                "INSERT INTO settings (app_settings_name, app_settings_value, app_settings_type) "
                "VALUES (?, ?, 'unicode')",
                [name, str(value)],
            )
    database.close()


@pytest.mark.once
def test_a_silent_server_of_a_plug_in_is_found_and_one_that_answers_is_good(
    gearbox: Gearbox, instance: Path
) -> None:
    def findings() -> Mapping[str, Any]:
        done = gearbox("perf-check", "-c", instance, "--only", "AUTH001", "-f", "json")
        assert done.returncode in (0, 1, 5), done.stderr
        return {item["subject"]: item for item in json.loads(done.stdout)}

    both = f"{PLUG_IN}crowd,{PLUG_IN}internal"
    with mute() as port:
        use(
            instance,
            auth_plugins=both,
            auth_crowd_enabled="True",
            auth_crowd_host="127.0.0.1",
            auth_crowd_port=port,
            auth_crowd_app_password="hidden-word",
        )
        found = findings()
        remedy = judge(
            PlugIn("crowd", (CROWD,)), [MUTE], 4, client_of(load(str(instance)).database_url)
        ).remedy
        assert str(remedy) == found["crowd"]["remedy"]
        carry_out(remedy, instance)
        (gone,) = log_in_servers.findings(Context(load(str(instance)), Deadline(10)))
        assert gone.severity is Severity.ok
    assert found["crowd"]["severity"] == "error" and "indefinitely" in found["crowd"]["diagnosis"]
    assert "hidden-word" not in json.dumps(found)
    with answering_http("401 Unauthorized") as port:
        use(instance, auth_crowd_port=port, auth_crowd_enabled="True")
        assert findings()["crowd"]["severity"] == "ok"


def test_without_other_plug_ins_nothing_is_waited_for_and_pam_is_unknown(instance: Path) -> None:
    context = Context(load(str(instance)), Deadline(10))
    assert [item.severity for item in log_in_servers.findings(context)] == [Severity.ok]
    use(instance, auth_plugins=f"{PLUG_IN}internal,{PLUG_IN}pam", auth_pam_enabled="True")
    context = Context(load(str(instance)), Deadline(10))
    (unknown,) = log_in_servers.findings(context)
    assert unknown.severity is Severity.unknown
    assert unknown.diagnosis.startswith("not measured: the log-in plug-in")
