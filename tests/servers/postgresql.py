"""A private PostgreSQL."""

from __future__ import annotations

import glob
import shutil
import signal
from pathlib import Path
from typing import Any

import cache
import psycopg2
from servers.server import Server


class PostgreSQL(Server):
    """A PostgreSQL cluster of the newest version installed, its superuser being ``kallithea``."""

    fast = True
    account = "postgres"
    stop_signal = signal.SIGINT  # "fast shutdown": does not wait for clients

    def __init__(self) -> None:
        super().__init__()
        programs = glob.glob("/usr/lib/postgresql/*/bin/postgres")
        assert programs, "PostgreSQL is not installed: apt-get install postgresql"
        self.programs = max(map(Path, programs), key=lambda path: int(path.parts[-3])).parent
        kept = cache.copied(
            "postgresql",
            [Path(__file__), Path(cache.__file__)],
            [cache.said(self.programs / "postgres", "--version")],
            self._initialise,
            self.directory / "cluster",
        )
        self.data = kept / "data"
        # The cluster has it already.
        self.password = (kept / "password").read_text()

    def _initialise(self, place: Path) -> None:
        """Make a cluster where its account may write, and put it in `place` with its password."""
        made = self.directory / "made"
        made.mkdir()
        self.own(made)
        secret = made / "password"
        secret.write_text(self.password)
        self.run(
            self.programs / "initdb",
            "-D",
            made / "data",
            "-U",
            "kallithea",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            f"--pwfile={secret}",
        )
        cache.copy(made, place)
        shutil.rmtree(str(made))

    def command(self) -> list[str]:
        """Return the server program with options for speed, not for durability."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "autovacuum": "off",
        }
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), *settings]

    def connect(self, database: str = "postgres") -> Any:
        """Return a DB-API connection in autocommit mode."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="kallithea",
            password=self.password,
            dbname=database,
        )
        connection.autocommit = True
        return connection

    def ready(self) -> bool:
        """Tell whether the server answers."""
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        """Create an empty database, in place of one of that name, and return its SQLAlchemy URL."""
        connection = self.connect()
        connection.cursor().execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        connection.cursor().execute(f'CREATE DATABASE "{database}"')
        connection.close()
        return "postgresql://kallithea:%s@127.0.0.1:%d/%s" % (self.password, self.port, database)
