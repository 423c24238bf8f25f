"""Headers and bodies that servers refuse: in tables, and with the real hg and real servers."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Union

import pytest
from servers.application import BIN, Kallithea
from servers.server import Server as Program

from kallithea_tune.app import hg_heads
from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import UNLIMITED, Server, server_of
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving.limits import LargestRepository
from kallithea_tune.perf_check.serving.limits_checks import (
    header_need,
    judge_body,
    judge_chunks,
    judge_headers,
    judge_time,
)
from kallithea_tune.system.files import Broken

HEADS = 300
HG = {**os.environ, "HGRCPATH": "", "HGUSER": "somebody"}


@pytest.mark.parametrize(
    "kind, option, fits, heads, severity, remedy",
    [
        ("waitress", "max_request_header_size", 131072, 5, Severity.ok, ""),
        (
            "waitress",
            "max_request_header_size",
            131072,
            2000,
            Severity.error,
            "max_request_header_size = 170048",
        ),
        (
            "waitress",
            "max_request_header_size",
            32768,
            5,
            Severity.advice,
            "max_request_header_size = 65535",
        ),
        ("uwsgi", "buffer-size", 4096, 5, Severity.error, "set buffer-size = 65535 in [uwsgi]"),
        ("uwsgi", "buffer-size", 65535, 700, Severity.ok, ""),
        ("gunicorn", "limit_request_fields", 92160, 1000, Severity.ok, ""),
        (
            "gunicorn",
            "limit_request_fields",
            92160,
            1200,
            Severity.error,
            "limit_request_fields = 111",
        ),
        (
            "gunicorn",
            "limit_request_field_size",
            0,
            1,
            Severity.error,
            "limit_request_field_size = 8190",
        ),
        ("wsgiref", "", 92160, 1200, Severity.error, "set use = egg:waitress#main"),
        ("gevent", "", None, 5, Severity.unknown, ""),
    ],
)
def test_headers(
    kind: str, option: str, fits: Optional[int], heads: int, severity: Severity, remedy: str
) -> None:
    section = "[uwsgi]" if kind == "uwsgi" else "[server:main]"
    server = Server(kind, "egg:" + kind, section, header_bytes=fits, header_option=option)
    finding = judge_headers(server, {"many": heads})
    assert finding.severity is severity and remedy in str(finding.remedy)
    assert ("many" in finding.diagnosis) is (severity is Severity.error and heads > 100)


def test_without_mercurial_repositories_only_discovery_counts() -> None:
    assert judge_headers(Server("waitress", "", header_bytes=9000), {}).severity is Severity.error
    assert judge_headers(Server("waitress", "", header_bytes=70000), {}).severity is Severity.ok


@pytest.mark.parametrize(
    "kind, option, limit, severity, remedy",
    [
        ("waitress", "max_request_body_size", 1 << 30, Severity.ok, ""),
        (
            "waitress",
            "max_request_body_size",
            1 << 20,
            Severity.warning,
            "max_request_body_size = 107374182400",
        ),
        ("uwsgi", "limit-post", 1 << 20, Severity.warning, "limit-post = 0"),
        ("gunicorn", "", UNLIMITED, Severity.ok, ""),
    ],
)
def test_bodies(kind: str, option: str, limit: int, severity: Severity, remedy: str) -> None:
    largest = LargestRepository("large", 5_000_000)
    (finding,) = judge_body(Server(kind, kind, body_bytes=limit, body_option=option), largest)
    assert finding.severity is severity and remedy in str(finding.remedy)
    assert str(UNLIMITED) not in str(finding.evidence)
    assert not list(judge_body(Server("", "", body_bytes=None), largest))


@pytest.mark.parametrize(
    "seconds, severity", [(UNLIMITED, Severity.ok), (3600, Severity.ok), (30, Severity.warning)]
)
def test_time(seconds: int, severity: Severity) -> None:
    (finding,) = judge_time(Server("gunicorn", "", request_seconds=seconds, time_option="timeout"))
    assert finding.severity is severity and str(UNLIMITED) not in str(finding.evidence)
    assert (str(finding.remedy) == "set timeout = 3600 in [server:main]") is (seconds == 30)
    assert not list(judge_time(Server("", "", request_seconds=None)))


@pytest.mark.parametrize(
    "kind, chunks, severity", [("uwsgi", False, Severity.warning), ("uwsgi", True, Severity.ok)]
)
def test_chunks(kind: str, chunks: bool, severity: Severity) -> None:
    (finding,) = judge_chunks(Server(kind, "", chunks=chunks))
    assert finding.severity is severity and ("uwsgi_pass" in str(finding.remedy)) is not chunks
    assert not list(judge_chunks(Server("gunicorn", "")))


COUNTS = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % len(environ["wsgi.input"].read())]
"""


@pytest.mark.parametrize("option", ["http-socket", "http11-socket"])
@pytest.mark.parametrize("buffering", [[], ["--post-buffering", "4096"]])
@pytest.mark.slow
def test_uwsgi_gives_the_application_no_chunks(
    tmp_path: Path, option: str, buffering: list[str]
) -> None:
    (tmp_path / "counts.py").write_text(COUNTS)

    class UWSGI(Program):
        account = "root"

        def command(self) -> list[str]:
            return [
                "uwsgi",
                "--plugin",
                "python3",
                "--die-on-term",
                "--wsgi-file",
                str(tmp_path / "counts.py"),
                f"--{option}",
                f"127.0.0.1:{self.port}",
                *buffering,
            ]

        def ready(self) -> bool:
            return self.answers("/")

    server = UWSGI()
    try:
        server.start()
        assert sent(server.port, b"x" * 2_000_000, {}) == b"2000000"
        assert (
            sent(server.port, iter([b"x" * 1000] * 2000), {"Transfer-Encoding": "chunked"})
            != b"2000000"
        )
    finally:
        server.remove()


def sent(port: int, body: Union[bytes, Iterator[bytes]], headers: Mapping[str, str]) -> bytes:
    """Post a body, in chunks if the headers say so; return the answer, nothing if it is cut off."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", body, headers, encode_chunked=bool(headers))
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def hg(path: Path, *arguments: str) -> None:
    subprocess.run([str(BIN / "hg"), *arguments], cwd=str(path), check=True, env=HG)


def make_heads(path: Path) -> None:
    hg(path.parent, "init", path.name)
    hg(path, "debugbuilddag", ".:p" + "<p." * HEADS)


def commit(path: Path) -> None:
    hg(path, "commit", "-q", "-m", "new", "--config", "ui.allowemptycommit=yes")


def test_heads_are_counted_as_mercurial_counts_them(tmp_path: Path) -> None:
    make_heads(tmp_path / "many")
    # The index has the data of the revisions in it, with Mercurial before 7.
    assert hg_heads.heads(str(tmp_path / "many")) == HEADS
    # Beyond 128 KB they have a file of their own, from the next commit on.
    hg(tmp_path, "init", "long")
    hg(tmp_path / "long", "debugbuilddag", ".:p+3500" + "<p." * 5)
    commit(tmp_path / "long")
    index = tmp_path / "long" / ".hg" / "store" / "00changelog.i"
    assert index.stat().st_size == 64 * 3507 and hg_heads.heads(str(tmp_path / "long")) == 7
    with index.open("ab") as file:
        file.write(b"x")
    with pytest.raises(Broken):
        hg_heads.heads(str(tmp_path / "long"))
    counted = hg_heads.count(str(tmp_path), ["long", "none", "many"], 60)
    assert counted == {"none": 0, "many": HEADS}


@pytest.mark.parametrize(
    "use, option, enough, too_little",
    [
        ("waitress", "max_request_header_size", None, None),
        ("gunicorn", "limit_request_fields", header_need(HEADS + 1) // 1024 + 11, 25),
    ],
)
@pytest.mark.once
def test_hg_pull_fails_where_the_check_says_so_and_nowhere_else(
    instance: Path,
    gearbox: Callable[..., subprocess.CompletedProcess[str]],
    edit: Callable[[Path, str, str], None],
    tmp_path: Path,
    use: str,
    option: str,
    enough: Optional[int],
    too_little: Optional[int],
) -> None:
    repository, client = instance.parent / "repos" / "many", tmp_path / "client"
    make_heads(repository)
    shutil.copytree(str(repository), str(client))
    commit(repository)
    subprocess.run(
        [str(BIN / "kallithea-cli"), "repo-scan", "-c", str(instance)],
        check=True,
        cwd=str(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    edit(instance, "use = egg:waitress#main", f"use = egg:{use}#main\n{option} = 1000000")
    if use == "gunicorn":
        edit(instance, "max_request_body_size = 107374182400\n", "")
    else:
        # The limit that results is half of the setting with waitress before 2.1.
        ratio = 1000000 // (server_of(load(str(instance))).header_bytes or 1)
        enough, too_little = header_need(HEADS + 1) * ratio, 12000 * ratio
    before = "1000000"
    for value, severity, works in ((too_little, "error", False), (enough, "advice", True)):
        edit(instance, f"{option} = {before}", f"{option} = {value}")
        before = str(value)
        result = gearbox(
            "perf-check",
            "-c",
            instance,
            "--only",
            "WEB006",
            "-f",
            "json",
            "--budget",
            "60",
            cwd=str(tmp_path),
        )
        finding = {item["subject"]: item for item in json.loads(result.stdout)}["headers"]
        assert finding["severity"] == severity and finding["evidence"]["most_heads"] == HEADS + 1
        status, output = pull(instance, client)
        assert (status == 0) is works, output


def pull(ini: Path, client: Path) -> tuple[int, str]:
    """Serve the ini file and pull into `client`; return hg's exit status and its output."""
    server = Kallithea(ini)
    try:
        server.start()
        done = subprocess.run(
            [str(BIN / "hg"), "pull", "-q", f"http://127.0.0.1:{server.port}/many"],
            cwd=str(client),
            env=HG,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        return done.returncode, done.stdout
    finally:
        server.remove()
