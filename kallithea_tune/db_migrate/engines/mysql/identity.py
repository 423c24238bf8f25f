"""The proof that nobody has written to a MariaDB server: InnoDB's log has not grown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.identity import Parts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# Changes and commits alike are written to the log; its position is in bytes since the server was
# installed. Restored files can have come as far, so the server has to run since.
SETTINGS = (
    "SELECT @@server_uid, @@hostname, @@port, @@datadir, DATABASE(), CURRENT_USER(), VERSION()"
)
STARTED = (
    "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS"
    " WHERE VARIABLE_NAME = 'UPTIME'"
)
OTHER_ENGINES = (
    "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
    " AND table_type <> 'VIEW' AND coalesce(engine, '') <> 'InnoDB'"
)
POSITION = "SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'"


class Identity(base.Identity):
    """The position in InnoDB's log, for databases whose tables are all InnoDB's.

    MySQL does not tell it.
    """

    def read(self, connection: Connection) -> Parts:
        """Read the position last, so that nothing of the rest is older."""
        cursor = connection.connection.cursor()
        rows = []
        try:
            for query in (OTHER_ENGINES, SETTINGS, STARTED, POSITION):
                cursor.execute(query)
                rows.append(cursor.fetchone())
        except connection.dialect.dbapi.Error:
            return {}
        finally:
            connection.connection.rollback()
        others, settings, started, position = rows
        if others[0] or not position:
            return {}
        return {"server": repr(settings), "server start": str(started[0]), "log": str(position[1])}
