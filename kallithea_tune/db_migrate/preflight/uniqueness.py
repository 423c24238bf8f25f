"""Keys that are there twice: in the source, where it lacks the constraint, and in the eyes of the
target's collation.

What a collation holds for equal is asked of the target itself, in a temporary table of its own.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Iterator, List, Sequence, Tuple

from kallithea_tune.db_migrate import connect
from kallithea_tune.db_migrate.copy import End, copy_table
from kallithea_tune.db_migrate.driver_errors import message_of
from kallithea_tune.db_migrate.preflight.finding import NAMED, Finding, shown_key
from kallithea_tune.db_migrate.preflight.rules import RULES, Chosen
from kallithea_tune.db_migrate.preflight.scan import Scan
from kallithea_tune.db_migrate.values import Kind, Row, kind_of
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.fixes import TableFixes
    from kallithea_tune.db_migrate.preflight.consequences import Consequences
    from kallithea_tune.db_migrate.preflight.finders import Finder
    from kallithea_tune.db_migrate.preflight.holders import Holder
    from kallithea_tune.db_migrate.preflight.look import Preflight

# Rows whose key another one has already: their own primary key, and that of the first one that has
# it.
Pairs = List[Tuple[Any, Any]]


class Uniqueness:
    """Looks at the unique keys of one table after the other, as its rows will be when the fixes are
    applied.
    """

    def __init__(
        self,
        source: End,
        target: End,
        finder: Finder,
        holder: Holder,
        found: Preflight,
        consequences: Consequences,
    ) -> None:
        self._source, self._target, self._finder, self._holder = source, target, finder, holder
        self._found, self._consequences = found, consequences
        self._kept: list[tuple[Finding, str, str, set[Any]]] = []

    def look(self, table: Table, copy: Table, chosen: Chosen) -> None:
        """Look at every unique key of `table`, whose `copy` is the target's."""
        if not self._has_several(table):
            return
        fixes = self._found.fixes.tables[table.name]
        for columns in unique_keys(copy):
            if self._cannot_tell(table, columns):
                continue
            twice = {"duplicates": self._same_in_source(table, columns)}
            folding = self._holder.folds and (
                any(kind_of(copy.columns[name]) is Kind.text for name in columns)
                if fixes.touches
                else self._may_fold(table, columns)
            )
            if folding or fixes.touches:
                pairs = self._same_in_target(table, copy, columns, fixes)
                exact = (
                    {key for key, _ in twice["duplicates"]}
                    if folding
                    else {key for key, _ in pairs}
                )
                twice["duplicates"] = [pair for pair in pairs if pair[0] in exact]
                twice["collisions"] = [pair for pair in pairs if pair[0] not in exact]
            for rule, pairs in twice.items():
                if pairs:
                    self._note(rule, table, columns, pairs, chosen)

    def settle(self) -> None:
        """Look whether a row that was kept as the first of several has been left out since, for
        another reason.
        """
        for finding, table, column, firsts in self._kept:
            finding.left = sum(self._consequences.is_out(table, column, first) for first in firsts)

    def _cannot_tell(self, table: Table, columns: Sequence[str]) -> bool:
        unmended = [
            finding
            for finding in self._found.blocking
            if finding.table == table.name
            and set(finding.columns) & set(columns)
            and finding.rule not in ("orphans", "duplicates", "collisions")
        ]
        if unmended:
            self._found.unseen.append(
                "whether {} of {} is there twice can only be told when {} is mended".format(
                    ", ".join(columns), table.name, unmended[0].rule
                )
            )
        return bool(unmended)

    def _has_several(self, table: Table) -> bool:
        scan = Scan(self._source, self._finder, table)
        return len(scan.asked(f"SELECT 1 FROM {self._quoted(table.name)} LIMIT 2")) > 1

    def _may_fold(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether a key has texts that some collation may hold for another one."""
        texts = [
            self._finder.foldable(self._quoted(name))
            for name in columns
            if kind_of(table.columns[name]) is Kind.text
        ]
        statement = "SELECT 1 FROM {} WHERE {} LIMIT 1".format(
            self._quoted(table.name), " OR ".join(texts)
        )
        return bool(texts) and bool(Scan(self._source, self._finder, table).asked(statement))

    def _quoted(self, name: str) -> str:
        return self._source.dialect.quoted(self._source.connection, name)

    def _same_in_source(self, table: Table, columns: Sequence[str]) -> Pairs:
        """Return the keys of rows whose `columns` are byte by byte those of another one, each with
        the first such.
        """
        scan = Scan(self._source, self._finder, table)
        names = [self._quoted(name) for name in columns]
        exact = [
            self._finder.exact(name, kind_of(table.columns[column]))
            for name, column in zip(names, columns)
        ]
        quoted = self._quoted(table.name)
        filled = " AND ".join(f"{name} IS NOT NULL" for name in names)
        groups = "SELECT {}, count(*) FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1".format(
            ", ".join("%s AS u%d" % (name, number) for number, name in enumerate(exact)),
            quoted,
            filled,
            ", ".join(exact),
        )
        if not scan.asked(f"SELECT count(*) FROM ({groups}) AS g")[0][0]:
            return []
        keys = [self._quoted(name) for name in scan.key_columns(table)]
        rows = scan.asked(
            "SELECT {}, {} FROM {} AS t JOIN ({}) AS g ON {} ORDER BY {}".format(
                ", ".join("g.u%d" % number for number in range(len(columns))),
                ", ".join("t." + key for key in keys),
                quoted,
                groups,
                " AND ".join("g.u%d = t.%s" % item for item in enumerate(exact)),
                ", ".join("t." + key for key in keys),
            )
        )
        return _later(rows, len(columns))

    def _same_in_target(
        self,
        table: Table,
        copy: Table,
        columns: Sequence[str],
        fixes: TableFixes,
    ) -> Pairs:
        """Return the same as the target sees it, of the rows as the fixes make them."""
        keys = Scan.key_columns(table)
        wanted = list(dict.fromkeys([*keys, *columns]))
        with self._temporary(copy, wanted) as made:
            if fixes.touches:
                places = [fixes.columns.index(name) for name in wanted]

                def amend(rows: Sequence[Row]) -> Sequence[Row]:
                    outcomes = [fixes.apply(row).row for row in rows]
                    return [
                        tuple(row[place] for place in places) for row in outcomes if row is not None
                    ]

                copy_table(self._source, self._target, table, made, lambda number: None, amend)
            else:
                copy_table(
                    self._source, self._target, _narrow(table, wanted), made, lambda number: None
                )
            return self._doubles(made.name, keys, columns)

    def _doubles(self, name: str, keys: Sequence[str], columns: Sequence[str]) -> Pairs:
        cursor = self._target.dialect.cursor(self._target.connection)
        names = [self._target.dialect.quoted(self._target.connection, column) for column in columns]
        # MySQL does not open a temporary table twice in one statement.
        statement = "CREATE TEMPORARY TABLE %s_twice AS SELECT %s FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1"
        cursor.execute(
            statement
            % (
                name,
                ", ".join("%s AS u%d" % (column, number) for number, column in enumerate(names)),
                name,
                " AND ".join(f"{column} IS NOT NULL" for column in names),
                ", ".join(names),
            )
        )
        ordered = ["t." + self._target.dialect.quoted(self._target.connection, key) for key in keys]
        cursor.execute(
            "SELECT {}, {} FROM {} AS t JOIN {}_twice AS g ON {} ORDER BY {}".format(
                ", ".join("g.u%d" % number for number in range(len(columns))),
                ", ".join(ordered),
                name,
                name,
                " AND ".join("g.u%d = t.%s" % item for item in enumerate(names)),
                ", ".join(ordered),
            )
        )
        return _later(cursor.fetchall(), len(columns))

    @contextlib.contextmanager
    def _temporary(self, copy: Table, names: Sequence[str]) -> Iterator[Table]:
        import sqlalchemy
        from sqlalchemy.schema import CreateTable

        made = sqlalchemy.Table(
            "tune_" + secrets.token_hex(8),
            sqlalchemy.MetaData(),
            *[
                sqlalchemy.Column(name, copy.columns[name].type, autoincrement=False)
                for name in names
            ],
            prefixes=["TEMPORARY"],
        )
        statement = str(CreateTable(made).compile(dialect=self._target.connection.dialect))
        cursor = self._target.dialect.cursor(self._target.connection)
        try:
            cursor.execute(statement)
            yield made
        except self._target.connection.dialect.dbapi.Error as error:
            raise Refused(
                f"the target {connect.label(self._target.connection.engine.url)} cannot compare keys in a temporary table: {message_of(error)}"
            ) from None
        finally:
            self._target.connection.connection.rollback()
            for name in (made.name + "_twice", made.name):
                cursor.execute(f"DROP TABLE IF EXISTS {name}")
            self._target.connection.connection.commit()

    def _note(
        self, rule: str, table: Table, columns: Sequence[str], pairs: Pairs, chosen: Chosen
    ) -> None:
        keys = Scan.key_columns(table)
        whole = len(keys) == 1 and bool(table.primary_key.columns)
        actions = RULES[rule].actions if whole and keys != list(columns) else ()
        fix = next((action for action in chosen.get(rule, ()) if action in actions), "")
        what = "the same as that of another row ({} as {})".format(*tuple(map(shown_key, pairs[0])))
        finding = Finding(
            rule,
            table.name,
            tuple(columns),
            what,
            len(pairs),
            [key for key, _ in pairs[:NAMED]],
            actions,
            fix,
            0 if fix else len(pairs),
        )
        self._found.findings.append(finding)
        if fix:
            later = {key for key, _ in pairs}
            self._found.fixes.tables[table.name].doubles.setdefault(f"{rule}={fix}", set()).update(
                later
            )
            self._kept.append((finding, table.name, keys[0], {first for _, first in pairs}))
            self._consequences.cascade({(table.name, keys[0]): later})


def unique_keys(table: Table) -> list[tuple[str, ...]]:
    """Return the columns of each unique key of a table, the primary one first."""
    from sqlalchemy import UniqueConstraint

    found = [tuple(table.primary_key.columns.keys())]
    found += [
        tuple(item.columns.keys())
        for item in table.constraints
        if isinstance(item, UniqueConstraint)
    ]
    found += [tuple(index.columns.keys()) for index in table.indexes if index.unique]
    return sorted(
        dict.fromkeys(columns for columns in found if columns),
        key=lambda columns: columns != found[0],
    )


def _later(rows: Sequence[Any], width: int) -> Pairs:
    """Read rows made of the values of a key and of the row's own key, in the order of the
    latter.
    """
    firsts: dict[Any, Any] = {}
    later = []
    for row in rows:
        key, values = (
            row[width] if len(row) == width + 1 else tuple(row[width:]),
            tuple(row[:width]),
        )
        if values in firsts:
            later.append((key, firsts[values]))
        firsts.setdefault(values, key)
    return later


def _narrow(table: Table, names: Sequence[str]) -> Table:
    """Describe a table with some of its columns only."""
    import sqlalchemy

    keys = {column.name for column in table.primary_key.columns}
    return sqlalchemy.Table(
        table.name,
        sqlalchemy.MetaData(),
        *[
            sqlalchemy.Column(
                name, table.columns[name].type, primary_key=name in keys, autoincrement=False
            )
            for name in names
        ],
    )
