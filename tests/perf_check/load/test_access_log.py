"""Access logs as real servers write them, and as strangers would like them to be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check.load import access_log
from kallithea_tune.perf_check.load.access_log import Agent, agent_of, kind_of, read, request_of
from kallithea_tune.perf_check.load.mix import Kind

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def line(target: str, agent: str = FIREFOX, status: int = 200, method: str = "GET") -> str:
    return (
        f'192.0.2.7 - anna [10/Oct/2025:13:55:36 +0000] "{method} {target} HTTP/1.1" {status} '
        f'5316 "-" "{agent}"'
    )


@pytest.mark.parametrize(
    "target, kind",
    [
        ("/", Kind.front),
        ("/group/repo", Kind.summary),
        ("/group/repo/changelog?page=2", Kind.changelog),
        ("/repo/files/tip/setup.py", Kind.files),
        ("/repo/raw/tip/setup.py", Kind.raw),
        ("/repo/feed/atom", Kind.feed),
        ("/repo?cmd=getbundle", Kind.hg),
        ("/repo/info/refs?service=git-upload-pack", Kind.git),
        ("/repo?cmd=capabilities", None),
        ("/repo/info/refs?service=git-receive-pack", None),
        ("/_admin/login", None),
        ("/repo/changeset/0123", None),
    ],
)
def test_kind(target: str, kind: Kind | None) -> None:
    request = request_of(line(target))
    assert request and kind_of(request) is kind


def test_kind_below_a_prefix() -> None:
    request = request_of(line("/code/repo/changelog"))
    front = request_of(line("/code/"))
    assert request and kind_of(request, "/code") is Kind.changelog
    assert front and kind_of(front, "/code/") is Kind.front


@pytest.mark.parametrize("status", [301, 403, 404, 500])
def test_what_was_not_answered_is_no_load(status: int) -> None:
    request = request_of(line("/repo", status=status))
    assert request and kind_of(request) is None


@pytest.mark.parametrize(
    "name, agent",
    [
        (FIREFOX, Agent.browser),
        (GOOGLE, Agent.automated),
        ("curl/8.5.0", Agent.automated),
        ("python-requests/2.31", Agent.automated),
        ("My own program", Agent.automated),
        ("git/2.39.5", Agent.client),
        ("mercurial/proto-1.0 (Mercurial 6.3.2)", Agent.client),
        ("-", Agent.unnamed),
    ],
)
def test_agent(name: str, agent: Agent) -> None:
    assert agent_of(name) is agent


def test_log_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    # In the combined log format, as nginx and Apache document it.
    lines = [
        line("/repo"),
        line("/css/style.css"),
        line("/repo/changelog", GOOGLE),
        line("/repo/info/refs?service=git-upload-pack", "git/2.39.5"),
        r'192.0.2.1 - - [10/Oct/2025:13:56:01 +0000] "\x16\x03\x01" 400 150 "-" "-"',
        r'192.0.2.1 - - [10/Oct/2025:13:56:02 +0000] "GET / HTTP/1.1" 200 1 "-" "a \" [b] \" c"',
        "nothing of this kind",
    ]
    log.write_text("\n".join(lines) + "\n")
    found = read(str(log))
    assert (found.lines, found.unread, found.requests, found.busiest_minute) == (7, 1, 4, 3)
    assert found.kinds == {Kind.summary: 1, Kind.changelog: 1, Kind.git: 1, Kind.front: 1}
    assert found.agents == {Agent.browser: 1, Agent.automated: 2, Agent.client: 1}
    assert found.examined.rest == "1 of 7 lines of the access log was not examined"
    assert found.period == "10/Oct/2025:13:55:36 +0000 to 10/Oct/2025:13:56:02 +0000"


def test_long_log_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "NEWEST_BYTES", 1000)
    log = tmp_path / "access.log"
    log.write_text(f"{line('/old')}\n" * 50 + f"{line('/repo/changelog')}\n" * 3)
    found = read(str(log))
    assert found.partial and found.lines < 10 and found.kinds[Kind.changelog] == 3


def test_lines_without_end_take_no_memory(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with log.open("w") as file:
        file.write(line("/" + "x" * 300000) + "\n" + line("/repo") + "\n")
    found = read(str(log))
    assert (found.lines, found.unread, found.requests) == (2, 1, 1)


def test_hostile_line_takes_no_time(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    hostile = "1 2 " + '[x] "' * 40 + '\\"' * 30000
    log.write_text(f"{hostile}\n" * 20 + line("/repo") + "\n")
    assert read(str(log)).unread == 20


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.write_text("a\nb\n"), "no line of .* combined log format"),
    ],
    ids=["missing", "directory", "pipe", "format"],
)
def test_what_is_no_log_is_said(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "access.log"
    make(path)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=reason):
        read(str(path))


def test_reading_ends_with_the_time(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line("/repo") + "\n")
    with pytest.raises(NotMeasured, match="no time to read"):
        read(str(log), out_of_time=lambda: True)
