"""Locks with a process id across namespaces: Kallithea's, Mercurial's, and what is said of them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Sequence

import pytest
from mounted import AS_ROOT
from waiting import until

from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.scaling import hosts, locks_checks
from kallithea_tune.perf_check.scaling.hosts import Host, Running, Runnings

pytestmark = pytest.mark.once

FIRST = 0xEFFFFFFC  # of every machine
A = Host("web1", FIRST, "boot-a")

DAEMON = """
import sys
from kallithea.lib.pidlock import DaemonLock, LockHeld
try:
    lock = DaemonLock(sys.argv[1])
except LockHeld:
    print("refused")
else:
    print("holds", flush=True)
    sys.stdin.read()
"""
MERCURIAL = """
import sys
from mercurial import error, lock, vfs
try:
    held = lock.lock(vfs.vfs(sys.argv[1].encode()), b"lock", timeout=0)
except error.LockHeld:
    print("refused")
else:
    print("holds", flush=True)
    sys.stdin.read()
"""
# Takes the first numbers, so that the process of the other namespace is nobody's here.
LATER = "for number in 1 2 3 4 5 6 7 8 9; do /bin/true; done; "
# As on two machines: the inode of the namespace is equal in both.
EQUAL = "mount -t tmpfs none /proc; mkdir -p /proc/self/ns; touch /proc/self/ns/pid; "
EQUAL += "mount --bind {} /proc/self/ns/pid; "


@contextlib.contextmanager
def elsewhere(code: str, path: Path, name: str, before: str = "") -> Iterator[str]:
    """Run code in namespaces of its own with this host name; gives what it says first."""
    inside = f'hostname {name}; {before}"$@"; true'
    process = subprocess.Popen(
        [
            *[*AS_ROOT, "unshare", "-m", "-u", "-p", "-f", "--mount-proc"],
            *["sh", "-ec", inside, "sh", sys.executable, "-c", code, str(path)],
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    assert process.stdin and process.stdout
    try:
        lines = iter(process.stdout.readline, "")
        yield next(line.strip() for line in lines if line.strip() in ("holds", "refused"))
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(60)


def test_two_namespaces_hold_the_daemon_lock_at_once(tmp_path: Path) -> None:
    file = tmp_path / "task.lock"
    with elsewhere(DAEMON, file, "web1", LATER) as first:
        assert first == "holds" and int(file.read_text()) > 9
        with elsewhere(DAEMON, file, "web2") as other:
            assert other == "holds"
            assert int(file.read_text()) < 9


def test_a_number_that_is_alive_elsewhere_blocks_the_daemon_lock(tmp_path: Path) -> None:
    file = tmp_path / "task.lock"
    file.write_text("1")  # of a process of another namespace that has ended
    with elsewhere(DAEMON, file, "web2") as said:
        assert said == "refused"


@pytest.mark.parametrize(
    "names, equal, second",
    [
        (("web1", "web1"), True, "holds"),
        (("web1", "web2"), True, "refused"),
        (("web1", "web1"), False, "refused"),
    ],
)
def test_a_live_lock_of_mercurial_is_broken_by_an_equal_name(
    tmp_path: Path, names: Sequence[str], equal: bool, second: str
) -> None:
    (tmp_path / "inode").touch()
    before = EQUAL.format(tmp_path / "inode") if equal else ""
    with elsewhere(MERCURIAL, tmp_path, names[0], LATER + before) as first:
        assert first == "holds"
        with elsewhere(MERCURIAL, tmp_path, names[1], before) as other:
            assert other == second
    inode = FIRST if equal else FIRST - 1
    one, two = Host(names[0], FIRST, "boot-a"), Host(names[1], inode, "boot-b")
    assert hosts.mercurial_breaks(one, two) is (second == "holds")


@pytest.mark.parametrize(
    "other, excludes, breaks",
    [
        (A, True, False),
        (replace(A, boot="boot-b"), False, True),
        (replace(A, boot="boot-b", name="web2"), False, False),
        (replace(A, pid_namespace=7), False, False),
        (replace(A, name="web2"), True, False),
    ],
)
def test_what_two_hosts_make_of_each_others_locks(
    other: Host, excludes: bool, breaks: bool
) -> None:
    assert hosts.pid_files_exclude(A, other) is excludes
    assert hosts.mercurial_breaks(A, other) is breaks


def said(ini: Path) -> "list[Finding]":
    return list(locks_checks.pid_files.judge(hosts.look([str(ini)], 0)))


def test_processes_in_two_namespaces_are_found(tmp_path: Path) -> None:
    ini, program = tmp_path / "my.ini", tmp_path / "kallithea-cli"
    ini.touch()
    program.write_text("import sys; print('holds', flush=True); sys.stdin.read()")
    code = (
        "import os, sys; os.execv(sys.executable, [sys.executable, {!r}, 'celery-run', '-c', {!r}])"
    )
    code = code.format(str(program), str(ini))
    with elsewhere(code, ini, "web1"):
        assert [item.severity for item in said(ini)] == [Severity.ok]
        with elsewhere(code, ini, "web2"):
            (finding,) = said(ini)
            assert finding.severity is Severity.warning and len(finding.evidence) == 2
    until(lambda: not said(ini))


def test_one_namespace_is_fine() -> None:
    process = Running("/my.ini", "gearbox serve", A)
    (finding,) = locks_checks.pid_files.judge(Runnings((process, process)))
    assert finding.severity is Severity.ok
