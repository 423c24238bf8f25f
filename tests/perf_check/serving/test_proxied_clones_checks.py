"""WEB004 in tables, and with a real Kallithea behind a proxy that holds clones back."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest
from servers.application import Kallithea
from servers.server import running

from kallithea_tune.perf_check.load.proxied_clones import Clone, Clones, compared
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving.traffic_checks import judge_clones

HELD_S = 0.3


@pytest.mark.parametrize(
    "later, count, severity",
    [(101, 7, Severity.warning), (99, 7, Severity.ok), (500, 4, Severity.unknown)],
)
def test_clones(later: float, count: int, severity: Severity) -> None:
    direct = tuple(Clone(ms, ms + 9, 1000) for ms in (10.0, 12.0, 11.0, 14.0, 9.0, 10.0, 13.0))
    through = tuple(Clone(one.first_ms + later, one.last_ms + later, 1000) for one in direct)
    finding = judge_clones(Clones("git", through[:count], direct[:count]), "code.example.com")
    assert finding.severity is severity


def test_reason_is_passed_on() -> None:
    finding = judge_clones(Clones("hg", failure="it answers with 403"), "x")
    assert finding.severity is Severity.unknown and "with 403" in finding.diagnosis


@pytest.fixture
def application(instance: Path) -> Iterator[Kallithea]:
    yield from running(Kallithea(instance))


@pytest.fixture
def proxy(application: Kallithea) -> Iterator[int]:
    """A proxy that passes an answer on when it is complete and `HELD_S` have gone by."""

    class Holding(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, body: bytes | None) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", application.port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            time.sleep(HELD_S)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Holding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.once
def test_real_clones_that_are_held_back_are_seen(application: Kallithea, proxy: int) -> None:
    direct = f"http://127.0.0.1:{application.port}"
    for kind, name in (("hg", "hg-one"), ("git", "git-one")):
        held = compared(kind, name, (f"http://127.0.0.1:{proxy}", direct), 60.0)
        finding = judge_clones(held, "proxy")
        assert finding.severity is Severity.warning and not held.failure, held
        # What is compressed again is not always equally long.
        assert held.through[0].bytes == pytest.approx(held.direct[0].bytes, rel=0.01)
        assert judge_clones(Clones(kind, held.direct, held.direct), "").severity is Severity.ok
    missing = compared("git", "nowhere", (direct, direct), 5.0)
    assert "answers an anonymous clone with 40" in missing.failure
