"""Whether the target can take the database: reachable, empty, in the right encoding, tables
allowed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Sequence

from kallithea_tune.db_migrate import connect, driver_errors, schema
from kallithea_tune.errors import ConfigError, Refused

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine

    from kallithea_tune.db_migrate.copy import End

TRIAL = "kallithea_tune_trial"


def reach(engine: Engine, name: str) -> Connection:
    """Connect to the database given as `name`. Raises ConfigError in one sentence, without the
    password.
    """
    from sqlalchemy.exc import DBAPIError

    try:
        return engine.connect()
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()
        raise ConfigError(
            f"{name} ({connect.label(engine.url)}) cannot be reached: {said[0] if said else type(error.orig).__name__}"
        ) from None


def existing_tables(connection: Connection) -> list[str]:
    """Return the names of the tables that the target has already, but for those that a killed trial
    left.
    """
    import sqlalchemy

    names = sqlalchemy.inspect(connection).get_table_names()
    return sorted(name for name in names if not name.startswith(TRIAL))


def require_empty(connection: Connection) -> None:
    """Raise Refused, naming the tables, when there are any."""
    names = existing_tables(connection)
    if names:
        raise Refused(
            "the target %s is not empty, it has %d tables (%s); give an empty database, or --replace"
            % (connect.label(connection.engine.url), len(names), shortened(names))
        )


def require_able(target: End) -> None:
    """Raise ConfigError when the target is too old, keeps not all characters, or does not let its
    user do what it must.

    What the user may do is not read from grants but tried, with two small tables that are dropped
    again.
    """
    place = connect.label(target.connection.engine.url)
    unfit = target.dialect.unfit(target.connection)
    if unfit:
        raise ConfigError(f"the target {place} cannot take the database: {unfit}")
    try:
        _try_tables(target)
    except Exception as error:
        if not driver_errors.of_driver(error):
            raise
        raise ConfigError(
            f"the target {place} does not let its user do what is needed: {driver_errors.message_of(error)}"
        ) from None


def _try_tables(target: End) -> None:
    """Make, fill, complete and drop two tables, one referring to the other."""
    from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Unicode

    metadata = MetaData(naming_convention={"fk": "fk_%(table_name)s_%(column_0_name)s"})
    one = Table(
        TRIAL + "_one",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", Unicode(255)),
    )
    other = Table(
        TRIAL + "_other",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("one_id", Integer, ForeignKey(one.c.id)),
    )
    Index(TRIAL + "_name", one.c.name, unique=True)
    trial = target.connection.begin()
    try:
        # Whoever may not drop tables may not make any that would stay.
        _drop_trial(target, other, one)
        target.dialect.begin_load(target.connection)
        schema.create_tables(target.connection, [one, other], target.dialect)
        target.connection.execute(one.insert().values(id=1, name=""))
        list(schema.complete_tables(target.connection, [one, other], target.dialect))
    finally:
        if not target.dialect.transactional_ddl:
            with contextlib.suppress(Exception):
                _drop_trial(target, other, one)
        trial.rollback()


def _drop_trial(target: End, *tables: Table) -> None:
    import sqlalchemy

    for table in tables:
        name = target.dialect.quoted(target.connection, table.name)
        target.connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {name}"))


def shortened(names: Sequence[str], most: int = 8) -> str:
    """List names, the first few of many."""
    return ", ".join(names[:most]) + (
        ", and %d more" % ((len(names) - most,)) if len(names) > most else ""
    )


def drop_tables(connection: Connection, names: Sequence[str]) -> None:
    """Drop tables with the foreign keys between them."""
    import sqlalchemy

    metadata = sqlalchemy.MetaData()
    metadata.reflect(connection, only=list(names))
    metadata.drop_all(connection)
