"""The generator against a real server whose answers are right, slow and wrong on purpose."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator

import pytest

from kallithea_tune.perf_check.load import clone, generator
from kallithea_tune.perf_check.load.generator import Volley
from kallithea_tune.perf_check.load.mix import Kind
from kallithea_tune.system import programs

PAGE = b"<html></html>\n"


class _Handler(http.server.BaseHTTPRequestHandler):
    lock, under_way, most, seen = threading.Lock(), 0, 0, 0

    def do_GET(self) -> None:
        kind = type(self)
        with kind.lock:
            kind.under_way += 1
            kind.seen += 1
            kind.most = max(kind.most, kind.under_way)
        time.sleep(0.02)
        with kind.lock:
            kind.under_way -= 1
        status, body = {"/cut": (200, PAGE[:9]), "/broken": (500, PAGE)}.get(self.path, (200, PAGE))
        self.send_response(status)
        self.send_header("Content-Length", str(len(PAGE) if self.path == "/short" else len(body)))
        self.end_headers()
        self.wfile.write(body[:5] if self.path == "/short" else body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[], tuple[str, type[_Handler]]]]:
    """Start a server; returns its URL, and the class that counts its requests."""
    servers = []

    def started() -> tuple[str, type[_Handler]]:
        handler = type("Handler", (_Handler,), {"lock": threading.Lock()})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", handler

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def volley(*bases: str, path: str = "/", clients: int = 4, seconds: float = 0.5) -> Volley:
    return Volley(bases, clients, 0.1, seconds, (Kind.front,), {"front": path}, "/nowhere")


def test_right_answers_are_a_rate_with_latencies(serve: Callable[..., tuple[str, type]]) -> None:
    hits = generator.send(volley(serve()[0]))
    assert hits.errors == 0 and hits.reasons == ()
    assert hits.requests == len(hits.latencies_ms) == round(hits.rate * 0.5)
    assert min(hits.latencies_ms) >= 20 and hits.cpu > 0


@pytest.mark.parametrize(
    "path, reason",
    [
        ("/cut", "an incomplete answer for /cut"),
        ("/broken", "status 500"),
        ("/short", "IncompleteRead"),
    ],
)
def test_a_wrong_answer_is_an_error_and_no_throughput(
    serve: Callable[..., tuple[str, type]], path: str, reason: str
) -> None:
    hits = generator.send(volley(serve()[0], path=path, seconds=0.2))
    assert hits.rate == 0 and hits.latencies_ms == ()
    assert hits.errors == hits.requests > 0
    assert len(hits.reasons) == 1 and reason in hits.reasons[0]


def test_no_server_is_an_error_for_each_request() -> None:
    hits = generator.send(volley("http://127.0.0.1:1", clients=1, seconds=0.1))
    assert hits.errors > 0 and "refused" in hits.reasons[0]


def test_each_server_has_its_part_of_the_requests_under_way(
    serve: Callable[..., tuple[str, type[_Handler]]],
) -> None:
    (first, one), (second, other) = serve(), serve()
    generator.send(volley(first, second, clients=4))
    assert one.most <= 2 and other.most <= 2
    assert one.seen > 0 and other.seen > 0


def test_the_ramp_is_not_counted(serve: Callable[..., tuple[str, type[_Handler]]]) -> None:
    url, handler = serve()
    hits = generator.send(replace(volley(url, clients=1, seconds=0.2), ramp=0.6))
    assert 0 < hits.requests < handler.seen / 2


def _git(*arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _repository(kind: str, path: Path) -> None:
    if kind == "git":
        _git("init", "-q", str(path))
        (path / "file").write_text("text")
        _git("-C", str(path), "add", "file")
        _git("-C", str(path), "commit", "-q", "-m", "first")
    else:
        hg = programs.beside("hg")
        subprocess.run([hg, "init", str(path)], check=True)
        (path / "file").write_text("text")
        subprocess.run([hg, "-R", str(path), "commit", "-qAm", "first", "-u", "a"], check=True)


@pytest.mark.parametrize("kind, data", [("hg", ".hg/store/data"), ("git", ".git/objects")])
def test_a_clone_that_lost_a_file_is_wrong(tmp_path: Path, kind: str, data: str) -> None:
    repository = tmp_path / "repository"
    _repository(kind, repository)
    checked = str(repository / ".git" if kind == "git" else repository)
    assert clone.wrong(kind, checked, 60) == ""
    lost = [path for path in (repository / data).rglob("*") if path.is_file()]
    lost[0].unlink()
    assert f"{kind} verify" in clone.wrong(kind, checked, 60)


def test_a_program_that_is_not_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    size, reason = clone.first("git", "http://127.0.0.1:1/none", str(tmp_path), 5)
    assert (size, reason) == (0, "git clone: No such file or directory")
