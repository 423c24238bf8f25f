"""Real servers that answer, are silent, refuse, or speak something else."""

from __future__ import annotations

import contextlib
from typing import Sequence

import pytest
from servers.talking import LDAP_BOUND, SMTP, answering_http, full, mute, saying

from kallithea_tune.perf_check.services.servers import (
    Protocol,
    Reply,
    Security,
    Server,
    replies_of,
)


def reply(protocol: Protocol, port: int, security: Security = Security.none) -> Reply:
    (one,) = replies_of([Server(protocol, "127.0.0.1", port, security)])
    return one


def test_a_server_that_says_nothing_is_silent_whether_it_accepts_or_not() -> None:
    with mute() as accepting, full() as refusing:
        servers = [
            Server(protocol, "127.0.0.1", port, security)
            for protocol in Protocol
            for security in Security
            for port in (accepting, refusing)
        ]
        replies = replies_of(servers)
    assert all(one.silent and one.failed and not one.ms for one in replies)
    assert [one.connected for one in replies] == [s.port == accepting for s in servers]


def test_a_refusal_and_an_unknown_name_are_no_silence() -> None:
    refused, unknown = replies_of(
        [
            Server(Protocol.http, "127.0.0.1", 1),
            Server(Protocol.ldap, "no-such-host.invalid", 389),
        ]
    )
    assert (refused.failed, refused.silent) == ("Connection refused", False)
    assert (unknown.failed, unknown.silent) == ("its name cannot be resolved", False)


@pytest.mark.parametrize("status, good", [("401 Unauthorized", True), ("503 No", False)])
def test_any_answer_of_http_will_do_unless_the_server_fails(status: str, good: bool) -> None:
    with answering_http(status) as port:
        answered = reply(Protocol.http, port)
    assert (not answered.failed, bool(answered.ms)) == (good, good)
    assert good or "503" in answered.failed


def test_ldap_answers_an_anonymous_bind_or_refuses_it() -> None:
    received: list[bytes] = []
    with saying(LDAP_BOUND, received=received) as port:
        assert not reply(Protocol.ldap, port).failed
    assert received[0][5:6] == b"\x60"  # a BindRequest
    with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert reply(Protocol.ldap, port).failed == "it does not speak LDAP"
    refused = bytes.fromhex("300c02010178070a013404000400")
    with saying(refused) as port:
        assert reply(Protocol.ldap, port, Security.on_request).failed == "it refuses StartTLS"


def test_smtp_is_greeted_and_gets_no_mail() -> None:
    received: list[bytes] = []
    with saying(*SMTP, speaks_first=True, received=received) as port:
        assert not reply(Protocol.smtp, port).failed
    assert received == [b"EHLO localhost\r\n", b"QUIT\r\n"]


@pytest.mark.parametrize(
    "answers, security, reason",
    [
        ([b"421 too busy\r\n"], Security.none, "it does not greet as SMTP does: 421 too busy"),
        ([SMTP[0], b"502 what\r\n"], Security.none, "it refuses EHLO: 502 what"),
        ([SMTP[0], b"250 mail\r\n"], Security.on_request, "it does not offer STARTTLS"),
        ([SMTP[0]], Security.at_once, "no TLS"),
    ],
)
def test_smtp_that_refuses_is_reported_with_its_reason(
    answers: Sequence[bytes], security: Security, reason: str
) -> None:
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(saying(*answers, speaks_first=True))
        assert reply(Protocol.smtp, port, security).failed.startswith(reason)
