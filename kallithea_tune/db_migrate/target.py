"""The target: what it contains, whether it is usable, and how a new SQLite file is published."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, ContextManager, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.db.interruptible import transaction
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import connect, driver_errors, journal, schema
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.inventory import fates
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.system import atomic, interruption, written_path
from kallithea_tune.system.lock_file import LockFile
from kallithea_tune.system.written_path import Output

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

PART = ".kallithea-tune-part"
LOCK_FILE = ".kallithea-tune-lock"
LOCK = "kallithea_tune"
LOCK_SECONDS = 3.0
TRIAL = "kallithea_tune_trial"
OPTION = "--to"
_HEADER = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, section 1.3
OUTPUT = Output(OPTION, "a SQLite database", lambda head: head.startswith(_HEADER), streams=False)
# In a transaction that was killed, the first page may not have been written yet.
PART_OUTPUT = Output(
    OPTION,
    "an unfinished SQLite database",
    lambda head: head.startswith(_HEADER) or not head.strip(b"\0"),
    streams=False,
)


class _Found(NamedTuple):
    """What is in the target: its tables, the entries of the journal, and the inode of a file."""

    tables: list[str]
    entries: Optional[Mapping[str, str]]
    file: Optional[int]


class Target:
    """The database that is filled; `endpoint` is the connection to write to.

    `tables`, the `entries` of the journal and `state` are those from before this migration. A new
    SQLite file is filled under another name, and gets its own when it is complete.
    """

    def __init__(self, url: str) -> None:
        written_path.refuse_control_characters(url, OPTION)
        self._url = url
        self._path = sqlite_file(url)
        self._part: Optional[int] = None
        self._lock: Optional[LockFile] = None
        self._is_reserved = False
        exists = True
        if self._path:
            # Nothing is created before the migration begins, not even an empty file.
            place = written_path.examine(self._path, OUTPUT)
            self._path, exists = place.path, bool(place.file)
            written_path.examine(self._path + PART, PART_OUTPUT)
            self._lock = LockFile(self._path + LOCK_FILE, OPTION)
        self.endpoint = self._opened(None if exists else ":memory:")
        self._found = self._look()
        self.tables, self.entries = self._found.tables, self._found.entries
        self.state = journal.state(self.entries, len(self.tables))

    def _look(self) -> _Found:
        connection, file = self.endpoint.connection, None
        # A transaction of MariaDB keeps seeing the same moment.
        connection.connection.rollback()
        with contextlib.suppress(FileNotFoundError):
            file = os.stat(self._path).st_ino if self._path else None
        tables = existing_tables(connection)
        return _Found(tables, journal.read(connection) if tables else None, file)

    @property
    def is_file(self) -> bool:
        """Whether it is a SQLite file: a new one is filled, and replaces the old one at the end."""
        return bool(self._path)

    @property
    def path(self) -> Optional[str]:
        """The SQLite file, None for a server."""
        return self._path

    @property
    def atomic(self) -> bool:
        """Whether one transaction can fill the target, tables included."""
        return self.endpoint.writer.transactional_ddl

    def transaction(self) -> ContextManager[object]:
        """Return the transaction for the entire migration, which does nothing unless `atomic`."""
        return transaction(self.endpoint.connection) if self.atomic else contextlib.nullcontext()

    def step_transaction(self) -> ContextManager[object]:
        """Return a transaction for one step, which does nothing inside that of an `atomic` one."""
        return contextlib.nullcontext() if self.atomic else transaction(self.endpoint.connection)

    def _opened(self, path: Optional[str]) -> Engine:
        """Connect to the database, or to another SQLite file in its place."""
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        engine = connect.target_engine(self._url)
        if path:
            engine = connect.with_session(
                sqlalchemy.create_engine(
                    engine.url,
                    poolclass=NullPool,
                    creator=lambda: sqlite3.connect(path, check_same_thread=False),
                ),
                writable=True,
            )
        return engine_for(driver_errors.open_connection(engine, OPTION))

    def another_connection(self) -> Engine:
        """Open another connection, for another process; the caller closes it.

        A SQLite file that is being filled has none, so that it is one to an empty database.
        """
        return self._opened(":memory:" if self._path else None)

    def require_columns(self, tables: Sequence[Table]) -> None:
        """Raise Refused where one of the `tables` or of their columns is missing."""
        catalog = self.endpoint.catalog
        columns = {table.name: table.columns.keys() for table in tables}
        missing = fates.lacking(catalog.found(), columns, catalog.folds_case)
        if missing:
            label = connect.label(self.endpoint.connection.engine.url)
            raise Refused(
                f"the target {label} lacks {len(missing)} of the tables or columns "
                f"({shortened(missing)}), so there is nothing to compare; --replace starts over"
            )

    def require_complete(self) -> None:
        """Raise Refused unless db-migrate filled it, and the application has not had it since."""
        label = connect.label(self.endpoint.connection.engine.url)
        if self.state is TargetState.FOREIGN:
            raise Refused(
                f"the target {label} has no journal of db-migrate: it may have rows that the "
                "source never had, such as after a switch, and --catch-up would delete them; "
                "--replace starts over"
            )
        if self.state is not TargetState.COMPLETE:
            raise Refused(
                f"the target {label} was not filled completely by db-migrate from this source, so "
                "there is nothing to catch up with"
            )

    def undo(self, tables: Sequence[Table]) -> None:
        """Drop `tables`, revision and journal, unless a transaction was rolled back with them."""
        if not self.atomic:
            connection = self.endpoint.connection
            ours = {table.name for table in tables} | {schema.STAMP, journal.NAME}
            existing = existing_tables(connection)
            drop_tables(connection, [name for name in existing if name in ours])

    def reserve(self) -> None:
        """Keep other migrations from writing to the target, as long as it is open.

        Raises Refused where another one does, or has since this one began, and ConfigError where
        that cannot be found out.
        """
        if self._is_reserved:
            return
        label = connect.label(self.endpoint.connection.engine.url)
        try:
            mine = self._lock.take() if self._lock else self._locked_on_server()
        except OSError as error:
            raise ConfigError(
                f"{OPTION}: {self._path}{LOCK_FILE} cannot be created: {error.strerror}"
            ) from None
        if not mine:
            killed = "" if self._lock else ", or the server is still ending one that was killed"
            raise Refused(f"another db-migrate is writing to the target {label}{killed}")
        if self._look() != self._found:
            raise Refused(
                f"the target {label} was changed since this command began, perhaps by another "
                "db-migrate; run the command again"
            )
        self._is_reserved = True

    def _locked_on_server(self) -> bool:
        """Take the lock; wait for a moment, since a server does not notice a kill at once."""
        end = time.monotonic() + LOCK_SECONDS
        while not self.endpoint.writer.lock(LOCK):
            if time.monotonic() > end:
                return False
            interruption.sleep(0.1)
        return True

    def stage(self) -> None:
        """Reserve the target; for SQLite, create the file that will take the place of the old one.

        Raises what `reserve` raises, and ConfigError when the file cannot be created.
        """
        self.reserve()
        if not self._path:
            return
        part = self._path + PART
        try:
            handle = written_path.open_file(written_path.examine(part, PART_OUTPUT))
        except OSError as error:
            raise ConfigError(f"{OPTION}: {part} cannot be created: {error.strerror}") from None
        # Left by a run that was killed.
        os.ftruncate(handle, 0)
        self._part = handle
        self.endpoint.connection.close()
        self.endpoint = self._opened(part)

    def publish(self) -> None:
        """Give a staged file its name, once it is on the disk."""
        if self._part is None or not self._path:
            return
        self.endpoint.connection.close()
        written_path.examine(self._path, OUTPUT)
        parent, name = os.path.split(self._path)
        with atomic.opened_directory(parent) as directory:
            if os.geteuid() == 0:
                # Kallithea, which does not run as root, has to write to a new file, too.
                owner = os.fstat(directory)
                os.fchown(self._part, owner.st_uid, owner.st_gid)
            atomic.copy_access(directory, name, self._part)
            os.fsync(self._part)
            interruption.check()
            with interruption.deferred():
                os.replace(name + PART, name, src_dir_fd=directory, dst_dir_fd=directory)
                os.fsync(directory)
                self._release()
                self.endpoint = self._opened(None)

    def _release(self) -> None:
        if self._part is not None:
            os.close(self._part)
            self._part = None

    def close(self) -> None:
        """Close the connection, and remove a file that is not complete."""
        self.endpoint.connection.close()
        if self._part is not None and self._path:
            os.unlink(self._path + PART)
        self._release()
        if self._lock:
            self._lock.release()


def existing_tables(connection: Connection) -> list[str]:
    """Return the names of the target's tables, except those left by a killed trial."""
    import sqlalchemy

    names = sqlalchemy.inspect(connection).get_table_names()
    return sorted(name for name in names if not name.startswith(TRIAL))


def require_empty(connection: Connection) -> None:
    """Raise Refused, listing the tables, when there are any."""
    names = existing_tables(connection)
    if names:
        label = connect.label(connection.engine.url)
        raise Refused(
            f"the target {label} is not empty: it has {len(names)} tables ({shortened(names)}); "
            "use an empty database or --replace"
        )


def require_usable(target: Engine) -> None:
    """Raise ConfigError when the target is too old, loses characters, or its user lacks privileges.

    Privileges are not read from grants but tried out, with two small tables that are dropped again.
    """
    label = connect.label(target.connection.engine.url)
    reason = target.writer.why_unsuitable()
    if reason:
        raise ConfigError(f"the target {label} is not suitable: {reason}")
    try:
        _try_tables(target)
    except Exception as error:
        if not driver_errors.of_driver(error):
            raise
        message = driver_errors.message_of(error)
        raise ConfigError(
            f"the target {label} does not let its user do what is needed: {message}"
        ) from None


def _try_tables(target: Engine) -> None:
    """Create, fill, complete and drop two tables, one of which refers to the other."""
    from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Unicode

    metadata = MetaData(naming_convention={"fk": "fk_%(table_name)s_%(column_0_name)s"})
    referred = Table(
        TRIAL + "_one",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", Unicode(255)),
    )
    referring = Table(
        TRIAL + "_other",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("one_id", Integer, ForeignKey(referred.c.id)),
    )
    Index(TRIAL + "_name", referred.c.name, unique=True)
    tables = [referred, referring]
    trial = target.connection.begin()
    try:
        # First, since a user who may not drop tables must not create any that would stay.
        _drop_trial(target, referring, referred)
        target.writer.begin_load()
        schema.create_tables(target.writer, tables)
        target.connection.execute(referred.insert().values(id=1, name=""))
        list(schema.complete_tables(target.writer, tables))
    finally:
        with interruption.deferred():
            if not target.writer.transactional_ddl:
                with contextlib.suppress(Exception):
                    _drop_trial(target, referring, referred)
            trial.rollback()


def _drop_trial(target: Engine, *tables: Table) -> None:
    import sqlalchemy

    for table in tables:
        name = target.quoted_in_text(table.name)
        target.connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {name}"))


def shortened(names: Sequence[str], limit: int = 8) -> str:
    """List names, only the first few of many."""
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def drop_tables(connection: Connection, names: Sequence[str]) -> None:
    """Drop tables together with the foreign keys between them."""
    import sqlalchemy

    metadata = sqlalchemy.MetaData()
    metadata.reflect(connection, only=list(names))
    metadata.drop_all(connection)
