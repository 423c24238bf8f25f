"""How an admin gives SQL to the database: the complete call of its own client."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.facts import DatabaseFacts, Setting
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.remedy import Effect, IniEdit, Option, Remedy, Statements, Steps
from kallithea_tune.system import programs

URL = "sqlalchemy.url"
# Who may change the settings of a server where Kallithea's own user may not.
ADMINISTRATORS = {"postgresql": "postgres", "mysql": "root"}


@dataclass(frozen=True)
class SqlClient:
    """The client of the database in ``sqlalchemy.url``, without its password.

    `place` is the SQLite file or the words that say which server, `user` and `database` are empty
    for SQLite.
    """

    dialect: str
    place: tuple[str, ...]
    user: str = ""
    database: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The call, which ends where the SQL follows."""
        if self.dialect == "postgresql":
            user = ("-U", self.user) if self.user else ()
            return ("psql", *self.place, *user, "-d", self.database, "-c")
        if self.dialect == "mysql":
            user = ("-u", self.user) if self.user else ()
            program = "mariadb" if programs.program("mariadb") else "mysql"
            return (program, *self.place, *user, "-D", self.database, "-e")
        # Like the other two, it shall not go on after an error.
        return ("sqlite3", "-bail", *self.place)

    def quoted(self, name: str) -> str:
        """Return an identifier as SQL has it."""
        quote = "`" if self.dialect == "mysql" else '"'
        return quote + name.replace(quote, quote * 2) + quote

    def as_administrator(self) -> SqlClient:
        """Return the same for the server's own superuser."""
        return dataclasses.replace(self, user=ADMINISTRATORS.get(self.dialect, self.user))

    def set_on_server(self, setting: Setting, value: str, facts: DatabaseFacts) -> Remedy:
        """Return how a setting of the server is given another `value`, now and for good."""
        by = self if facts.superuser else self.as_administrator()
        name = setting.name
        if self.dialect == "mysql":
            note = f"{name} = {value} below [mysqld] in the server's configuration, and for now"
            return by.statements(f"SET GLOBAL {name} = {value}", note)
        if setting.source == "command line":
            return f"start PostgreSQL without {name}={setting.value} in its command line"
        scopes = {
            "database": f"DATABASE {self.quoted(self.database)}",
            "user": f"ROLE {self.quoted(self.user)}",
            "database user": (
                f"ROLE {self.quoted(self.user)} IN DATABASE {self.quoted(self.database)}"
            ),
        }
        if setting.source in scopes:
            return self.statements(f"ALTER {scopes[setting.source]} RESET {name}")
        # ALTER SYSTEM does not work in the transaction of another statement.
        return Steps(
            (
                by.statements(f"ALTER SYSTEM SET {name} = {value}"),
                by.statements("SELECT pg_reload_conf()"),
            ),
            "" if facts.superuser else "as a superuser of PostgreSQL",
        )

    def statements(
        self,
        sql: str,
        note: str = "",
        effect: Effect = Effect.lasting,
        stopped: bool = False,
    ) -> Statements:
        """Return the remedy that has the client carry out `sql`."""
        return Statements(sql, self.words, note, effect, stopped)

    @property
    def examined(self) -> Examined:
        """The ini file."""
        return Examined(1, 1, "ini file")


@measurement()
def sql_client(context: Context) -> SqlClient:
    """Read the place of the database from ``sqlalchemy.url``."""
    return client_of(context.instance.database_url)


def client_of(url: str) -> SqlClient:
    """Return the client for a SQLAlchemy URL. Raises NotMeasured for what is none."""
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError

    path = sqlite_file(url)
    if path:
        return SqlClient("sqlite", (path,))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise NotMeasured("the database cannot be read, see DB000") from None
    dialect = parsed.get_backend_name()
    host = parsed.host or str(parsed.query.get("host", "")) or None
    place: tuple[str, ...] = ("-h", host) if host else ()
    flag = "-p" if dialect == "postgresql" else "-P"
    place += (flag, str(parsed.port)) if parsed.port else ()
    if dialect == "mysql" and host == "localhost" and parsed.get_driver_name() == "pymysql":
        # Unlike PyMySQL, the client would use the server's socket.
        place += ("--protocol=tcp",)
    socket = parsed.query.get("unix_socket")
    place += ("-S", str(socket)) if socket else ()
    return SqlClient(dialect, place, parsed.username or "", parsed.database or "")


def url_edit(instance: Instance, change: Callable[[str], str]) -> IniEdit:
    """Return the edit that makes a `change` of ``sqlalchemy.url`` as it is written."""
    section, name = instance.place(URL)
    written = instance.sections.get(section, {}).get(name)
    if written is None:
        # Options of [DEFAULT] and of other files are known by their value only.
        written = instance.settings.get(URL, "").replace("%", "%%")
    return IniEdit((Option(section, name, change(written)),))
