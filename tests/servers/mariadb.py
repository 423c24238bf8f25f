"""A private MariaDB."""

from __future__ import annotations

import getpass
import os
import shutil
from pathlib import Path
from typing import Any

import cache
import pymysql
from servers.server import Server


class MariaDB(Server):
    """A MariaDB server with a user ``kallithea`` who may do everything."""

    fast = True
    account = "nobody"

    def __init__(self) -> None:
        super().__init__()
        self.data = cache.copied(
            "mariadb",
            [Path(__file__), Path(cache.__file__)],
            [cache.said("/usr/sbin/mariadbd", "--version")],
            self._initialise,
            self.directory / "data",
        )
        self.first = self.directory / "first.sql"
        self.first.write_text(
            f"CREATE USER IF NOT EXISTS kallithea@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO kallithea@'127.0.0.1' WITH GRANT OPTION;\n"
        )

    def _initialise(self, place: Path) -> None:
        """Make the data directory where its account may write, and put it in `place`."""
        made = self.directory / "made"
        owner = self.account if os.getuid() == 0 else getpass.getuser()
        self.run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={made}",
            f"--user={owner}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        )
        cache.copy(made, place)
        shutil.rmtree(str(made))

    def command(self) -> list[str]:
        """Return the server program with options for speed, not for durability."""
        return [
            "/usr/sbin/mariadbd",
            "--no-defaults",
            f"--datadir={self.data}",
            "--port=%d" % self.port,
            "--bind-address=127.0.0.1",
            "--socket={}".format(self.directory / "socket"),
            f"--init-file={self.first}",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-flush-method=nosync",
            "--skip-log-bin",
            "--character-set-server=utf8mb4",
        ]

    def connect(self, database: str = "") -> Any:
        """Return a DB-API connection in autocommit mode."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="kallithea",
            password=self.password,
            database=database or None,
            autocommit=True,
        )

    def ready(self) -> bool:
        """Tell whether the server answers."""
        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        """Create an empty database, in place of one of that name, and return its SQLAlchemy URL."""
        connection = self.connect()
        connection.cursor().execute(f"DROP DATABASE IF EXISTS `{database}`")
        connection.cursor().execute(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
        connection.close()
        return "mysql+pymysql://kallithea:%s@127.0.0.1:%d/%s?charset=utf8mb4" % (
            self.password,
            self.port,
            database,
        )
