"""What killed processes left is found in real repositories, and its removal lets git and Mercurial
work again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

import pytest
from carry_out import carry_out
from perf_check.repositories.real import NO_INSTANCE, bad, findings
from perf_check.repositories.test_survey import ENVIRONMENT, HG, in_git, listing, run

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.remedy import Effect, steps_of
from kallithea_tune.perf_check.repositories import leftovers
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.leftovers_checks import (
    Holder,
    Lock,
    Locks,
    Owner,
    duration,
    left_files,
    left_locks,
)

DAY = 86400


def aged(path: Path, seconds: float) -> Path:
    """Have a file, or a link itself, look as old as that."""
    then = time.time() - seconds
    os.utime(str(path), (then, then), follow_symlinks=False)
    return path


def locked(path: Path, seconds: float, owner: str = "") -> Path:
    """Lock as Mercurial does, by a link that leads to its `owner`, or as git does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if owner:
        path.symlink_to(owner)
    else:
        path.write_bytes(b"")
    return aged(path, seconds)


def pushed_to_git(path: Path, place: Path) -> int:
    """Push a commit to the branch at HEAD without Kallithea's hooks; return the status."""
    if not place.exists():
        run("git", "clone", "-q", path, place)
    in_git(path, "config", "core.hooksPath", os.devnull)
    in_git(place, "commit", "-q", "--allow-empty", "-m", "More")
    branch = in_git(path, "symbolic-ref", "HEAD").strip()
    push = ["git", "-C", str(place), "push", "-q", "origin", f"HEAD:{branch}"]
    return subprocess.run(push, env=ENVIRONMENT, stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("name", ["HEAD.lock", "refs/heads/{branch}.lock"])
def test_a_lock_of_git_that_refuses_pushes_is_found_and_removed(
    repos: Path, tmp_path: Path, name: str
) -> None:
    path = repos / "git-one"
    branch = in_git(path, "symbolic-ref", "--short", "HEAD").strip()
    locked(path / name.format(branch=branch), 5 * DAY)
    assert pushed_to_git(path, tmp_path / "clone") != 0
    (found,) = bad(left_locks, repos).values()
    assert (found.severity, found.subject) == (Severity.error, "refs")
    assert "git-one refuses pushes: " in found.diagnosis and "is 5 days old" in found.diagnosis
    carry_out(found.remedy, NO_INSTANCE)
    assert not bad(left_locks, repos)
    assert pushed_to_git(path, tmp_path / "clone") == 0


@pytest.mark.parametrize(
    "name", ["packed-refs.lock", "gc.pid.lock", "objects/info/commit-graph.lock"]
)
def test_a_lock_of_git_that_stops_gc_is_found_and_removed(repos: Path, name: str) -> None:
    path = repos / "git-one"
    locked(path / name, DAY)
    with pytest.raises(subprocess.CalledProcessError):
        in_git(path, "gc", "--quiet")
    (found,) = bad(left_locks, repos).values()
    assert (found.severity, found.subject) == (Severity.warning, "git gc")
    carry_out(found.remedy, NO_INSTANCE)
    assert not bad(left_locks, repos)
    in_git(path, "gc", "--quiet")


@pytest.mark.parametrize("name", [".hg/store/lock", ".hg/wlock"])
def test_a_lock_of_mercurial_from_another_machine_is_found_and_removed(
    repos: Path, name: str
) -> None:
    path = repos / "hg-one"
    locked(path / name, 3 * DAY, "oldhost.example.com:4711")
    change = [HG, "-R", path, "--config", "ui.timeout=1", "tag", "--local", "-f", "x"]
    strip = [HG, "-R", path, "--config", "ui.timeout=1", "recover"]
    refused = change if name == ".hg/wlock" else strip
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(*refused)
    assert "oldhost.example.com" in failed.value.output
    (found,) = bad(left_locks, repos).values()
    assert (found.severity, found.confidence) == (Severity.error, "medium")
    assert "hg-one refuses pushes: locked for 3 days by oldhost.example.com" in found.diagnosis
    (step,) = steps_of(found.remedy)
    assert step.effect is Effect.lasting and "oldhost.example.com" in step.note
    carry_out(found.remedy, NO_INSTANCE)
    assert not bad(left_locks, repos)


def test_a_transaction_that_was_interrupted_behind_a_lock_is_rolled_back(repos: Path) -> None:
    store = repos / "hg-one" / ".hg" / "store"
    length = (store / "00changelog.i").stat().st_size
    (store / "journal").write_bytes(b"00changelog.i\0%d\n" % length)
    (store / "journal.backupfiles").write_bytes(b"2\n")
    locked(store / "lock", DAY, "oldhost.example.com:4711")
    (found,) = bad(left_locks, repos).values()
    carry_out(found.remedy, NO_INSTANCE)
    assert not (store / "journal").exists()
    assert not bad(left_locks, repos)


def namespaced(process: int) -> str:
    """Name a process as Mercurial does."""
    return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino:x}:{process}"


def test_mercurial_writes_its_owner_as_it_is_read_here(repos: Path) -> None:
    path = repos / "hg-one"
    hook = "hooks.preupdate=readlink .hg/wlock > owner"
    run(HG, "-R", path, "--cwd", path, "--config", hook, "update", "-C", "null")
    match = leftovers._OWNER.match((path / "owner").read_text().strip())
    assert match and namespaced(int(match["process"])) == match[0]


def test_a_lock_whose_process_has_ended_is_left_to_mercurial(repos: Path) -> None:
    path = repos / "hg-one"
    ended = subprocess.Popen(["true"])
    ended.wait()
    locked(path / ".hg" / "store" / "lock", DAY, namespaced(ended.pid))
    assert not bad(left_locks, repos)
    subprocess.run([HG, "-R", str(path), "recover"], env=ENVIRONMENT, timeout=60)
    assert not os.path.lexists(str(path / ".hg" / "store" / "lock"))


@contextmanager
def sleeping(*words: str, cwd: str = "/") -> Iterator[int]:
    process = subprocess.Popen([*words, "sleep", "60"], cwd=cwd)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_number_that_another_process_has_by_now_is_no_owner(repos: Path) -> None:
    lock = repos / "hg-one" / ".hg" / "store" / "lock"
    with sleeping() as process:
        locked(lock, DAY, namespaced(process))
        (found,) = bad(left_locks, repos).values()
    assert found.severity is Severity.error and found.evidence["process"] == process
    carry_out(found.remedy, NO_INSTANCE)
    assert not bad(left_locks, repos)


def test_a_shell_in_the_directory_is_no_owner_and_an_older_process_is_one(repos: Path) -> None:
    lock = locked(repos / "git-one" / "packed-refs.lock", DAY)
    locked(repos / "hg-one" / ".hg" / "store" / "lock", 0, namespaced(os.getpid()))
    aged(repos / "hg-one" / ".hg" / "store" / "lock", -DAY)
    # Who measures may have it open, too.
    with open(str(lock)), sleeping(cwd=str(lock.parent)):
        found = bad(left_locks, repos)
    assert {subject: item.severity for subject, item in found.items()} == {
        "git gc": Severity.warning,
        "at work": Severity.warning,
    }


def test_a_git_at_work_is_the_owner(repos: Path) -> None:
    path = repos / "git-one"
    lock = locked(path / "packed-refs.lock", DAY)
    reading = ["git", "-C", str(path), "cat-file", "--batch"]
    with subprocess.Popen(reading, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"HEAD\n")
        process.stdin.flush()
        process.stdout.readline()
        (found,) = bad(left_locks, repos).values()
        process.stdin.close()
    assert (found.severity, found.subject) == (Severity.warning, "at work")
    assert f"process {process.pid} has locked git-one for 1 day" in found.diagnosis
    lock.unlink()


@pytest.mark.parametrize("seconds", [0, 300])
def test_a_young_lock_is_one_of_a_push(repos: Path, seconds: float) -> None:
    locked(repos / "git-one" / "HEAD.lock", seconds)
    locked(repos / "hg-one" / ".hg" / "store" / "lock", seconds, "other:1")
    (found,) = findings(left_locks, repos)
    assert found.severity is Severity.ok


def test_a_healthy_instance_has_no_leftovers_and_stays_as_it_is(pristine: Path) -> None:
    before = listing(pristine / "repos")
    context = Context(load(str(pristine / "my.ini")), Deadline(60))
    for check in (left_locks, left_files):
        assert [found.severity for found in check.findings(context)] == [Severity.ok]
    assert listing(pristine / "repos") == before


def lock(name: str, age_s: float = 5 * DAY, kind: Kind = Kind.git, **fields: object) -> Lock:
    owner = fields.pop("owner", Owner(Holder.nobody))
    assert isinstance(owner, Owner)
    return Lock("it", kind, f"/repos/it/{name}", name, age_s, owner)


@pytest.mark.parametrize(
    "locks,expected",
    [
        ([], ["no lock is older than 10 minutes"]),
        (
            [lock("refs/heads/a.lock"), lock("refs/heads/b.lock", DAY)],
            ["it refuses pushes: refs/heads/a.lock is 5 days old (of 2 locks)"],
        ),
        (
            [lock(".hg/wlock", 3600, Kind.hg)],
            ["it refuses pushes: .hg/wlock is 1 hour old"],
        ),
        (
            [lock("HEAD.lock"), lock("config.lock")],
            [
                "it refuses pushes: HEAD.lock is 5 days old",
                "git gc fails in it: config.lock is 5 days old",
            ],
        ),
        (
            [lock("HEAD.lock", 7200, owner=Owner(Holder.process, 7, "git gc"))],
            ["process 7 has locked it for 2 hours"],
        ),
    ],
)
def test_locks_are_judged_by_what_they_stop(locks: Sequence[Lock], expected: Sequence[str]) -> None:
    measured = Locks(tuple(locks), "/repos", Examined(1, 1, "repository"))
    assert [found.diagnosis for found in left_locks.judge(measured)] == expected


@pytest.mark.parametrize(
    "seconds,expected",
    [(30, "a minute"), (60, "1 minute"), (7199, "1 hour"), (2 * DAY, "2 days")],
)
def test_a_duration_has_its_largest_unit(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def sparse(path: Path, megabytes: int, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "wb") as file:
        file.truncate(megabytes * 1_000_000)
    aged(path.parent, seconds)
    return aged(path, seconds)


def test_files_of_aborted_pushes_are_found_and_deleted_and_no_others(repos: Path) -> None:
    objects = repos / "git-one" / "objects"
    old = [
        sparse(objects / "pack" / "tmp_pack_aB1", 60, 40 * DAY),
        sparse(objects / "pack" / ".tmp-123-pack-1.pack", 30, 40 * DAY),
        sparse(objects / "incoming-Xy12" / "tmp_pack", 20, 40 * DAY),
        sparse(objects / "tmp_objdir-incoming-Z" / "ab" / "cd", 10, 40 * DAY),
    ]
    aged(objects / "tmp_objdir-incoming-Z", 40 * DAY)
    new = [
        sparse(objects / "pack" / "tmp_pack_aB2", 60, 0),
        sparse(objects / "incoming-Ab34" / "tmp_pack", 60, 0),
    ]
    kept = set(objects.rglob("*"))
    (found,) = bad(left_files, repos).values()
    assert (found.severity, found.subject) == (Severity.advice, "git")
    assert found.diagnosis == "120 MB in 4 files of pushes that were aborted: git-one"
    assert [step.effect for step in steps_of(found.remedy)] == [Effect.deletes]
    carry_out(found.remedy, NO_INSTANCE)
    assert not bad(left_files, repos)
    gone = kept - set(objects.rglob("*"))
    assert gone >= set(old) and not gone & set(new)
    assert {path for path in gone if path.is_file()} <= set(old)
    in_git(objects.parent, "fsck")


def test_old_stores_of_mercurial_are_found_and_deleted(repos: Path) -> None:
    hg = repos / "hg-one" / ".hg"
    sparse(hg / "upgradebackup.1a2b" / "store" / "00manifest.d", 1100, 9 * DAY)
    aged(hg / "upgradebackup.1a2b", 9 * DAY)
    (found,) = bad(left_files, repos).values()
    assert (found.severity, found.subject) == (Severity.warning, "hg")
    carry_out(found.remedy, NO_INSTANCE)
    assert not bad(left_files, repos)
    run(HG, "-R", hg.parent, "verify")
