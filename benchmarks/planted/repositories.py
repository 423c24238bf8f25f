"""What is wrong with repositories."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time

import sick_instance
from state import BIN, Planted, state

DAY = 86_400


@state("GIT002", "WEB008", "REPO007")
def tags(planted: Planted) -> None:
    """60,000 tags."""
    repository = planted.repositories / "git-one"
    head = (repository / "packed-refs").read_text().split()[-2]
    with open(repository / "packed-refs", "w") as file:
        print("# pack-refs with: peeled fully-peeled sorted ", file=file)
        print(head, "refs/heads/master", file=file)
        for number in range(60_000):
            print(f"{head} refs/tags/nightly-{number:06}", file=file)


@state("GIT001", advice=True)
def loose(planted: Planted) -> None:
    """20,000 loose objects."""
    sick_instance.add_loose_objects(planted.repositories / "git-one", 20_000)


@state("GIT001", advice=True)
def no_gc(planted: Planted) -> None:
    """Gc.auto = 0."""
    loose(planted)
    planted.run("git", "config", "gc.auto", "0", cwd=planted.repositories / "git-one")


@state("GIT003", "REPO003")
def commit_graph(planted: Planted) -> None:
    """A damaged commit-graph."""
    repository = planted.repositories / "git-one"
    planted.run("git", "commit-graph", "write", "--reachable", cwd=repository)
    graph = repository / "objects" / "info" / "commit-graph"
    os.chmod(graph, 0o644)
    content = bytearray(graph.read_bytes())
    middle = len(content) // 2
    content[middle : middle * 2 - 30] = os.urandom(middle - 30)
    graph.write_bytes(content)


@state("REPO005")
def hg_lock(planted: Planted) -> None:
    """A lock of Mercurial that a machine left which is gone."""
    lock = planted.repositories / "hg-one" / ".hg" / "store" / "lock"
    os.symlink("gone.example.com:4711", str(lock))
    _age(lock, 3)


@state("REPO005")
def git_locks(planted: Planted) -> None:
    """Locks of Git that a killed process left."""
    for name in ("refs/heads/master.lock", "packed-refs.lock"):
        lock = planted.repositories / "git-one" / name
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        _age(lock, 5)


@state("REPO006", advice=True)
def temporary_packs(planted: Planted) -> None:
    """1.5 GB of packs of aborted pushes."""
    for number in range(30):
        pack = planted.repositories / "git-one" / "objects" / "pack" / f"tmp_pack_{number:06}"
        with open(pack, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 50_000_000)
        _age(pack, 40)


@state("WEB008", "REPO007", advice=True)
def readme(planted: Planted) -> None:
    """A README of 1.5 MB."""
    section = (
        "Section {0}\n-----------------------\n\n"
        + "Some *text* with `links <https://x/{0}>`__. " * 4
    )
    text = "\n\n".join(section.format(number) for number in range(6000))
    repository = planted.repositories / "hg-one"
    (repository / "README.rst").write_text(text + "\n")
    planted.run(BIN / "hg", "commit", "-m", "A long README", "-u", "x", cwd=repository)


@state("WEB008", "REPO007", advice=True)
def directory(planted: Planted) -> None:
    """A directory of 20,000 files."""
    repository = planted.repositories / "hg-two"
    for number in range(20_000):
        (repository / f"file-{number:05}.txt").write_text(str(number))
    planted.run(BIN / "hg", "commit", "-q", "-A", "-m", "Many", "-u", "x", cwd=repository)


@state("WEB008", "REPO007", "WEB015", advice=True)
def many(planted: Planted) -> None:
    """3,000 repositories on one page."""
    with contextlib.closing(sqlite3.connect(str(planted.directory / "kallithea.db"))) as database:
        rows = database.execute("PRAGMA table_info(repositories)")
        names = ", ".join(row[1] for row in rows if row[1] not in ("repo_id", "repo_name"))
    planted.sql(_MANY.format(names=names))
    template = planted.repositories / "hg-one" / ".hg"
    for number in range(3000):
        target = planted.repositories / f"many-{number:04}" / ".hg"
        (target / "store").mkdir(parents=True)
        for name in ("requires", "00changelog.i"):
            if (template / name).exists():
                os.link(template / name, target / name)
        for name in ("00changelog.i", "00manifest.i", "fncache", "requires"):
            if (template / "store" / name).exists():
                os.link(template / "store" / name, target / "store" / name)


_MANY = """
WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 2999)
INSERT INTO repositories (repo_name, {names})
 SELECT printf('many-%04d', n), {names} FROM repositories, number WHERE repo_name = 'hg-one';
INSERT INTO repo_to_perm (repository_id, user_id, permission_id)
 SELECT r.repo_id, u.user_id, p.permission_id FROM repositories r, users u, permissions p
 WHERE r.repo_name LIKE 'many-%' AND u.username = 'default'
 AND p.permission_name = 'repository.read';
UPDATE settings SET app_settings_value = '100000' WHERE app_settings_name = 'dashboard_items';
"""


@state("REPO002")
def lost(planted: Planted) -> None:
    """A repository that is in the database only."""
    os.rename(planted.repositories / "git-two", planted.directory / "elsewhere")


@state("REPO003")
def head(planted: Planted) -> None:
    """A Git repository whose HEAD is no file of Git."""
    (planted.repositories / "git-one" / "HEAD").write_bytes(b"\0" * 20)


@state("REPO008", advice=True)
def future(planted: Planted) -> None:
    """Changesets dated in the future."""
    repository = planted.repositories / "hg-one"
    (repository / "README.rst").write_text("Tomorrow\n")
    date = f"{int(time.time()) + 400 * DAY} 0"
    planted.run(BIN / "hg", "commit", "-m", "Later", "-u", "x", "-d", date, cwd=repository)


def _age(path: object, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(str(path), (then, then), follow_symlinks=False)
