"""Processes of strangers, and of servers that changed their user, looked at by root."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Iterator

import pytest
from mounted import AS_ROOT
from owned import NOBODY, SECRET, Owned

SERVER = f"""
import ctypes, os, socket, sys
database = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(database.getsockname())
accepted = database.accept()[0]
database.close()
os.setgid({NOBODY})
os.setuid(int(sys.argv[1]))
# As after such a change by default: PR_SET_DUMPABLE.
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
for _ in range(2):
    if os.fork() == 0:
        break
os.write(1, b"ready\\n")
sys.stdin.read()
"""


def served(owned: Owned, uid: int) -> "subprocess.Popen[bytes]":
    """Start two workers and their master, which became another user, as a pre-forking server."""
    program = owned.place / "gunicorn"
    program.write_text(SERVER)
    words = [program, uid, "--paste", owned.ini, "-c", owned.secret]
    process = subprocess.Popen(
        [*AS_ROOT, sys.executable, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and [process.stdout.readline() for _ in range(3)] == [b"ready\n"] * 3
    return process


@pytest.fixture(params=[NOBODY, 54399])
def found(request: pytest.FixtureRequest, owned: Owned) -> "Iterator[tuple[int, Any]]":
    owned.give_to(NOBODY, NOBODY)
    process = served(owned, request.param)
    try:
        words = ("--only=WEB001", "--only=WEB011", "-f", "json")
        said = owned.gearbox("perf-check", "-c", owned.ini, *words)
    finally:
        process.communicate()
    assert SECRET not in said.stdout + said.stderr
    yield request.param, json.loads(said.stdout)


def test_only_the_owners_processes_count_also_those_that_changed_their_user(
    found: "tuple[int, Any]",
) -> None:
    uid, rows = found
    shared = [row for row in rows if row["check"] == "WEB011"]
    assert [row["severity"] for row in shared] == (["error"] if uid == NOBODY else [])
    (threads,) = [row for row in rows if row["check"] == "WEB001"]
    # Root alone may read the file of settings, so that only what runs is known.
    confidence = "medium" if uid == NOBODY else "low"
    assert (threads["severity"], threads["confidence"]) == ("ok", confidence)
