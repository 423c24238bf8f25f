"""What both sides of a migration are asked, in the SQL of each engine: every method takes and
returns SQL.

These are for checking only, so that nothing here is shared with the code that copies.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from kallithea_tune.db_migrate.values import Kind

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

NULL = "N"
# A colon before a word is a parameter in SQLAlchemy's text(), unless escaped.
POSTGRESQL_MOMENT = r"to_char(%s, 'YYYY-MM-DD HH24\:MI\:SS.US')"
MYSQL_MOMENT = "date_format(%s, '%%Y-%%m-%%d %%H:%%i:%%s.%%f')"


class Expressions:
    """How one engine, found by its SQLAlchemy name, computes what every other one computes
    alike.
    """

    __dialect__ = ""
    known: ClassVar[dict[str, type[Expressions]]] = {}

    any_type = False
    """Whether a column of text may hold binary data."""

    utf8_text = True
    """Whether the engine keeps text as UTF-8, so that its bytes need no conversion."""

    written: ClassVar[dict[Kind, str]] = {}
    """For each kind that all engines can write alike, the text of a value that is not NULL."""

    def __init_subclass__(cls) -> None:
        """Make the engine known by its SQLAlchemy name."""
        Expressions.known[cls.__dialect__] = cls

    def prepare(self, connection: Connection) -> bool:
        """Set up the session; False where the engine is too old for what is asked."""
        return True

    def quoted(self, connection: Connection, name: str) -> str:
        """Return an identifier as it stands in SQL, for `text`."""
        return str(connection.dialect.identifier_preparer.quote(name)).replace(":", r"\:")

    def text(self, value: str) -> str:
        """Return text in an encoding whose bytes are those of UTF-8."""
        return value

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Count the bytes of text in UTF-8, or of binary data."""
        raise NotImplementedError

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Return the SHA-256 of text in UTF-8, or of binary data, in hexadecimal."""
        raise NotImplementedError

    def stored(self, value: str, kind: Kind) -> str:
        """Return a value so that the driver can read it, whatever it is."""
        return value

    def concatenated(self, *texts: str) -> str:
        """Put texts of one row together; NULL where one of them is."""
        return "({})".format(" || ".join(texts))

    def joined(self, value: str) -> str:
        """Join the texts of all rows, in the order of the rows, with a comma between."""
        raise NotImplementedError

    def some_rows(self, table: str, columns: str, where: str, key: str, most: int) -> str:
        """Return a FROM clause with at most `most` rows by `key`."""
        return "FROM (SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d) AS some_rows" % (
            columns,
            table,
            where,
            key,
            most,
        )


class SQLite(Expressions):
    """SQLite, with the digest lent by Python."""

    __dialect__ = "sqlite"
    any_type = True
    # Without a fraction where it was written by hand.
    written = {
        Kind.integer: "%s",
        Kind.boolean: "%s",
        Kind.date: "%s",
        Kind.moment: "substr(%s || '.000000', 1, 26)",
    }

    def prepare(self, connection: Connection) -> bool:
        """Lend the digest; have the driver not stumble over text that is no UTF-8."""
        raw: Any = connection.connection.cursor().connection
        raw.text_factory = lambda value: value.decode("utf-8", "surrogateescape")
        raw.create_function(
            "tune_digest", 1, lambda value: None if value is None else sha256(value)
        )
        return True

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Cast, since length() of text ends at a NUL."""
        return f"length(CAST({value} AS BLOB))"

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Hand bytes over to Python, which would refuse text that is no UTF-8."""
        return f"tune_digest(CAST({value} AS BLOB))"

    def joined(self, value: str) -> str:
        """Use group_concat."""
        return f"group_concat({value}, ',')"


class PostgreSQL(Expressions):
    """PostgreSQL 11 and newer, which have sha256()."""

    __dialect__ = "postgresql"
    written = {
        Kind.integer: "CAST(%s AS text)",
        Kind.boolean: "CAST(CAST(%s AS integer) AS text)",
        Kind.moment: POSTGRESQL_MOMENT,
        Kind.date: "to_char(%s, 'YYYY-MM-DD')",
    }

    def prepare(self, connection: Connection) -> bool:
        """Have floats sent with all their digits, which versions before 12 do not by default."""
        cursor = connection.connection.cursor()
        cursor.execute("SET extra_float_digits = 3")
        cursor.execute("SHOW server_encoding")
        self.utf8_text = cursor.fetchone()[0] == "UTF8"
        version = connection.dialect.server_version_info
        return bool(version is None or version >= (11,))

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Convert only where the database has another encoding."""
        return "octet_length({})".format(
            value if self.utf8_text or kind is Kind.binary else f"convert_to({value}, 'UTF8')"
        )

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Use sha256, which takes bytes."""
        return "encode(sha256({}), 'hex')".format(
            value if kind is Kind.binary else f"convert_to({value}, 'UTF8')"
        )

    def stored(self, value: str, kind: Kind) -> str:
        """Have dates come as text, since Python has neither infinity nor years before 1 and after
        9999.
        """
        if kind is Kind.moment:
            return rf"CASE WHEN {value} >= '0001-01-01' AND {value} < '10000-01-01' THEN {POSTGRESQL_MOMENT % value} ELSE CAST({value} AS text) END"
        return f"CAST({value} AS text)" if kind is Kind.date else value

    def joined(self, value: str) -> str:
        """Use string_agg, which keeps the order of a sorted subquery when there are no groups."""
        return f"string_agg({value}, ',')"


class MySQL(Expressions):
    """MariaDB and MySQL."""

    __dialect__ = "mysql"
    written = {
        Kind.integer: "CAST(%s AS char)",
        Kind.boolean: "CAST(%s AS char)",
        Kind.moment: MYSQL_MOMENT,
        Kind.date: "CAST(%s AS char)",
    }

    def prepare(self, connection: Connection) -> bool:
        """Let group_concat, which cuts off silently, return more than it ever has to; look for
        other encodings.
        """
        cursor = connection.connection.cursor()
        cursor.execute("SET SESSION group_concat_max_len = 67108864")
        cursor.execute(
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND character_set_name"
            " NOT IN ('utf8mb4', 'utf8mb3', 'utf8', 'ascii')"
        )
        self.utf8_text = cursor.fetchone()[0] == 0
        return True

    def text(self, value: str) -> str:
        """Convert only where some column has another encoding."""
        return value if self.utf8_text else f"CONVERT({value} USING utf8mb4)"

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Count bytes."""
        return f"length({value if kind is Kind.binary else self.text(value)})"

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Use sha2."""
        return f"sha2({value if kind is Kind.binary else self.text(value)}, 256)"

    def stored(self, value: str, kind: Kind) -> str:
        """Have dates come as text, since Python has no zeros."""
        return self.written[kind] % value if kind in (Kind.moment, Kind.date) else value

    def concatenated(self, *texts: str) -> str:
        """Use concat, since || may mean OR."""
        return "concat({})".format(", ".join(texts))

    def joined(self, value: str) -> str:
        """Use group_concat."""
        return f"group_concat({value} SEPARATOR ',')"

    def some_rows(self, table: str, columns: str, where: str, key: str, most: int) -> str:
        """Read along the primary key, without the temporary table of a subquery; group_concat has
        its own limit.
        """
        return f"FROM {table} FORCE INDEX (PRIMARY) WHERE {where}"


def sha256(value: bytes) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(value).hexdigest()


def expressions_of(connection: Connection) -> Optional[Expressions]:
    """Return what the engine of `connection` can compute itself, the session being prepared for it;
    None: nothing.
    """
    found = Expressions.known.get(connection.dialect.name)
    expressions = found() if found else None
    return expressions if expressions and expressions.prepare(connection) else None
