"""The runbooks as an admin walks them: every block of commands, by whom it says, on real servers.

All of it in a mount namespace, in which ``/srv/kallithea`` is an instance and ``kallithea`` a user.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple

import pytest
from environment import BIN
from mounted import AS_ROOT
from owned import ROOT, Owned, mounts
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

pytestmark = pytest.mark.once


RUNBOOKS = ROOT / "docs" / "runbooks"
USER = 54321
PASSWORD = "a1b2c3d4e5f6"
BLOCK = re.compile(r"(?m)^((?:[^\n]+\n)*[^\n]*)::\n\n((?:(?: +[^\n]*)?\n)+)")
WHO = re.compile(r"[Aa]s\s+\*(root|postgres|kallithea)\*")


class Step(NamedTuple):
    """A block of commands, and who runs it."""

    who: str
    commands: str


def steps_of(name: str) -> list[Step]:
    """The blocks of commands of a runbook, in order; those before each say who runs them."""
    found = []
    for text, block in BLOCK.findall((RUNBOOKS / name).read_text() + "\n"):
        if ".. " not in text:
            lines = block.strip("\n").split("\n")
            indent = len(lines[0]) - len(lines[0].lstrip())
            commands = [line[indent:] for line in lines if line.startswith(" " * indent)]
            found.append(Step(WHO.findall(text)[-1], "\n".join(commands)))
    return found


class Place:
    """An instance at ``/srv/kallithea``, and the programs of this machine that are not run."""

    def __init__(self, owned: Owned) -> None:
        self.owned, self.directory = owned, owned.directory
        self.calls = owned.place / "calls"
        self.calls.touch()
        self.calls.chmod(0o666)
        self.variables: dict[str, str] = {}
        self.mounts: list[str] = []
        users, groups = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        account = f"kallithea:x:{USER}:{USER}::/srv/kallithea:/bin/bash\n"
        (owned.place / "passwd").write_text(users + account)
        (owned.place / "group").write_text(f"{groups}kallithea:x:{USER}:\n")
        self._program(owned.place / "bin" / "systemctl")
        self._program(self.directory / "venv" / "bin" / "pip")
        activate = f"PATH=/srv/kallithea/venv/bin:{BIN}:$PATH\n"
        (self.directory / "venv" / "bin" / "activate").write_text(activate)
        with sqlite3.connect(str(self.directory / "kallithea.db")) as connection:
            connection.execute(
                "UPDATE ui SET ui_value = '/srv/kallithea/repos' WHERE ui_section = 'paths'"
            )
        connection.close()
        owned.give_to(USER, USER)

    def _program(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\necho "{path.name} $*" >> {self.calls}\n')
        path.chmod(0o755)

    def run(self, step: Step, given: str = "", statuses: tuple[int, ...] = (0,)) -> str:
        """Run a block of commands as bash does for who runs it; return what it prints."""
        place = self.owned.place
        setup = [
            *mounts(place / "group"),
            f"mount --bind {place / 'passwd'} /etc/passwd",
            "mkdir -p /srv && mount -t tmpfs -o mode=755 none /srv && mkdir /srv/kallithea",
            f"mount --bind {self.directory} /srv/kallithea",
            *self.mounts,
            'cd / && exec env "$@"',
        ]
        become = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
        variables = {
            "PYTHONPATH": str(ROOT),
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            **self.variables,
        }
        done = subprocess.run(
            [
                *[*AS_ROOT, "unshare", "-m", "sh", "-ec", "; ".join(setup), "sh"],
                *[f"{name}={value}" for name, value in variables.items()],
                *(become if step.who == "kallithea" else []),
                *["bash", "-ec", step.commands],
            ],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            timeout=300,
            # No terminal, on which programs ask for passwords.
            start_new_session=True,
        )
        assert done.returncode in statuses, (step, done.stdout)
        assert PASSWORD not in done.stdout
        return done.stdout

    @property
    def url(self) -> str:
        """The URL in the ini file."""
        (found,) = re.findall(
            r"(?m)^sqlalchemy.url = (\S+)", (self.directory / "my.ini").read_text()
        )
        return str(found)

    def access(self, name: str) -> tuple[int, int]:
        """Owner and mode of a file."""
        status = (self.directory / name).stat()
        return status.st_uid, status.st_mode & 0o777

    def write(self) -> None:
        """Write to the SQLite database as Kallithea does meanwhile."""
        with sqlite3.connect(str(self.directory / "kallithea.db")) as connection:
            connection.execute("UPDATE users SET firstname = 'Anne' WHERE admin")
        connection.close()


@pytest.fixture
def place(pristine: Path) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="kallithea-tune-runbook-") as directory:
        os.chmod(directory, 0o755)
        yield Place(Owned(pristine, Path(directory)))


@pytest.fixture
def administered() -> Iterator[PostgreSQL]:
    """A PostgreSQL whose administrator is not called ``kallithea``."""
    server = PostgreSQL()
    try:
        server.start()
        with server.connect() as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(f"CREATE ROLE boss SUPERUSER LOGIN PASSWORD '{server.password}'")
        yield server
    finally:
        server.remove()


def test_every_block_of_commands_says_who_runs_it() -> None:
    names = ("sqlite-to-postgresql.rst", "to-mariadb.rst", "going-back.rst")
    assert [len(steps_of(name)) for name in names] == [11, 2, 8]


def test_from_sqlite_to_postgresql(place: Place, administered: PostgreSQL) -> None:
    server = administered
    place.variables = {
        "PGPORT": str(server.port),
        "PATH": f"{place.owned.place / 'bin'}:{server.programs}:{os.environ['PATH']}",
    }
    administer = {"PGHOST": "127.0.0.1", "PGUSER": "boss", "PGPASSWORD": server.password}
    create, *steps = steps_of("sqlite-to-postgresql.rst")
    place.variables.update(administer)
    renamed = "ALTER ROLE kallithea RENAME TO former"
    place.run(
        Step("postgres", f"psql -d postgres -c '{renamed}'\n{create.commands}"), f"{PASSWORD}\n" * 2
    )
    for name in administer:
        del place.variables[name]
    restrict, backup, install, check, copy, stop, switch, start, look, delete = steps
    for step in (restrict, backup, install):
        place.run(step, PASSWORD + "\n")
    assert place.access("url") == place.access("my.ini") == (USER, 0o600)
    assert "29 tables" in place.run(check)
    place.run(copy)
    place.write()
    place.run(stop)
    assert "users: 0 new, 1 changed, 0 deleted" in place.run(switch)
    assert place.url == f"postgresql://kallithea:{PASSWORD}@localhost/kallithea"
    assert place.access("my.ini") == (USER, 0o600)
    place.run(start)
    place.run(look, statuses=(0, 1))
    place.run(delete)
    assert not (place.directory / "url").exists()
    assert (place.directory / "kallithea-before.db").exists()
    assert place.calls.read_text().splitlines() == [
        "pip install kallithea-tune[postgresql]",
        "systemctl stop kallithea kallithea-celery",
        "systemctl start kallithea kallithea-celery",
    ]


def test_to_mariadb_and_back(place: Place) -> None:
    server = MariaDB()
    try:
        server.directory.chmod(0o755)
        server.start()
        # Where the clients of this machine look for it.
        place.mounts = [
            "mkdir -p /run/mysqld && mount -t tmpfs -o mode=755 none /run/mysqld",
            f"ln -s {server.directory / 'socket'} /run/mysqld/mysqld.sock",
        ]
        _to_mariadb_and_back(place)
    finally:
        server.remove()


def _to_mariadb_and_back(place: Place) -> None:
    for step in steps_of("to-mariadb.rst"):
        place.run(step, PASSWORD + "\n")
    *_, switch, _, _, _ = steps_of("sqlite-to-postgresql.rst")
    place.run(switch._replace(commands=switch.commands.replace("--catch-up ", "")))
    assert place.url.startswith("mysql") and place.url.endswith("?charset=utf8mb4")
    (old,) = place.directory.glob("my.ini.2*")
    stop, restore, start, *with_everything, again = steps_of("going-back.rst")
    for step in with_everything:
        place.run(step)
    assert place.url.startswith("sqlite:////srv/kallithea/back.db")
    place.run(stop)
    place.run(restore._replace(commands=re.sub(r"my\.ini\.2\S+", old.name, restore.commands)))
    assert place.url == "sqlite:///%(here)s/kallithea.db?timeout=60"
    place.run(start)
    assert "is not empty" in place.run(switch, statuses=(3,))
    # Nobody is there to confirm.
    place.run(again._replace(commands=again.commands + " -y"))
