"""Real mail servers, of which none gets a mail."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable, Mapping

import beaker_tools
import pytest
from carry_out import carry_out
from servers.talking import SMTP, mute, saying

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Configuration
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.services.mail import MailServer, server_of
from kallithea_tune.perf_check.services.mail_checks import judge, mail
from kallithea_tune.perf_check.services.servers import Protocol, Reply, Security, Server

Edit = Callable[[Path, str, str], None]
SERVER = Server(Protocol.smtp, "a", 25)
MUTE = Reply(failed="nothing within 2 s", silent=True, connected=True)


@pytest.mark.parametrize(
    "settings, server",
    [
        ({}, None),
        ({"smtp_server": "a"}, SERVER),
        ({"smtp_server": "a:2525", "smtp_port": ""}, Server(Protocol.smtp, "a", 2525)),
        (
            {"smtp_server": "a", "smtp_use_ssl": "true"},
            Server(Protocol.smtp, "a", 465, Security.at_once),
        ),
        (
            {"smtp_server": "a", "smtp_use_tls": "true", "smtp_port": "587"},
            Server(Protocol.smtp, "a", 587, Security.on_request),
        ),
    ],
)
def test_the_server_is_read_as_kallithea_reads_it(
    settings: Mapping[str, str], server: "Server | None"
) -> None:
    assert server_of(settings) == server


def test_a_port_that_is_no_number_is_reported() -> None:
    with pytest.raises(NotMeasured, match="smtp_port is not a number: smtp"):
        server_of({"smtp_server": "a", "smtp_port": "smtp"})


@pytest.mark.parametrize(
    "reply, in_requests, errors, severity, words",
    [
        (Reply(5.0), True, False, Severity.ok, "answers"),
        (Reply(900.0), True, False, Severity.advice, "wait 900 ms"),
        (Reply(900.0), False, True, Severity.ok, "answers"),
        (MUTE, True, False, Severity.error, "each request that sends mail waits indefinitely"),
        (MUTE, False, True, Severity.error, "each request that ends in an error, wait"),
        (MUTE, False, False, Severity.error, "holds a worker process indefinitely"),
        (Reply(failed="refused"), True, False, Severity.warning, "mails are lost: refused"),
    ],
)
def test_a_mail_server_is_judged_by_who_waits(
    instance: Path, reply: Reply, in_requests: bool, errors: bool, severity: Severity, words: str
) -> None:
    finding = judge(MailServer(SERVER, reply, in_requests, errors), load(str(instance)))
    assert finding.severity is severity and words in finding.diagnosis


def test_without_a_mail_server_nothing_is_judged(instance: Path) -> None:
    assert list(mail.judge(MailServer(), Configuration(load(str(instance))))) == []


@pytest.mark.once
def test_a_silent_mail_server_is_found_and_gone_after_the_remedy(
    gearbox: "Callable[..., subprocess.CompletedProcess[str]]", instance: Path, edit: Edit
) -> None:
    def findings() -> Any:
        done = gearbox("perf-check", "-c", instance, "--only", "MAIL001", "-f", "json")
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    edit(instance, "\nsmtp_server =", "\nsmtp_server = 127.0.0.1")
    edit(instance, "\nemail_to =", "\nemail_to = admin@example.com")
    edit(instance, "\nerror_email_from =", "\nerror_email_from = me@example.com")
    with saying(*SMTP, speaks_first=True) as port:
        edit(instance, "\nsmtp_port =", f"\nsmtp_port = {port}")
        assert [item["severity"] for item in findings()] == ["ok"]
    with mute() as silent:
        edit(instance, f"\nsmtp_port = {port}", f"\nsmtp_port = {silent}")
        (found,) = findings()
        assert (found["severity"], found["subject"]) == ("error", "server")
        planted = load(str(instance))
        remedy = judge(MailServer(SERVER, MUTE), planted).remedy
        assert str(remedy) == found["remedy"]
        carry_out(remedy, planted)
    assert findings() == []
    beaker_tools.visit(instance, "/")
