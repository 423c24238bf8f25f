"""The steps that fill a target: an empty one, or one that an interrupted run left partly filled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, Optional

from kallithea_tune.db_migrate import journal, schema, sequences
from kallithea_tune.db_migrate import target as targets
from kallithea_tune.db_migrate.copy import Amend, copy_table
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.progress import ProgressTracker
from kallithea_tune.db_migrate.result import MigrationResult, Step
from kallithea_tune.db_migrate.target import Target
from kallithea_tune.db_migrate.verify import schema as schema_check
from kallithea_tune.errors import TuneError
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy import Table


class InitialCopy:
    """The steps in their order; between `drop_keys` and `add_keys` the kept tables are updated."""

    def __init__(
        self,
        target: Target,
        transfer: Transfer,
        amend: Callable[[str], Optional[Amend]],
        progress: ProgressTracker,
        result: MigrationResult,
    ) -> None:
        self._target, self._transfer, self._amend = target, transfer, amend
        self._progress, self._result = progress, result
        self._connection, self._writer = transfer.target.connection, transfer.target.writer

    def prepare(self, replace: bool) -> set[str]:
        """Drop what is in the way, and return the names of the tables that are complete already."""
        existing = targets.existing_tables(self._connection)
        if replace and self._target.state is not TargetState.PARTLY_FILLED:
            targets.drop_tables(self._connection, existing)
            existing = []
        entries = journal.read(self._connection) if existing else None
        if entries is None:
            journal.create(self._connection)
        copied = set(journal.numbers(entries or {}, journal.COPIED))
        kept = {table.name for table in self._transfer.tables} & copied & set(existing)
        targets.drop_tables(self._connection, sorted(set(existing) - kept - {journal.NAME}))
        self._result.kept = tuple(sorted(kept))
        return kept

    def copy_rows(self, kept: set[str], check: Optional[Callable[[], None]] = None) -> None:
        """Create all tables but the kept ones, and copy their rows; `check` may end it early."""
        missing = {table.name for table in self._transfer.tables} - kept
        transfer = self._transfer.only(missing)
        planned = [table.rows for table in self._result.plan.tables if table.name in missing]
        self._writer.begin_load()
        self._progress.begin("copying", sum(planned))
        schema.create_tables(self._writer, transfer.copies)
        with self._result.timed(Step.COPY):
            for table, copy in transfer.pairs:
                self._copy_table(table, copy, check)

    def _copy_table(self, table: Table, copy: Table, check: Optional[Callable[[], None]]) -> None:
        def count(rows: int) -> None:
            self._progress.advance(rows, table.name)
            if check:
                check()

        self._progress.current_step = f"copying {table.name}"
        with self._target.step_transaction():
            rows = self._result.rows[table.name] = copy_table(
                self._transfer.source.reader,
                self._writer,
                table,
                copy,
                count,
                self._amend(table.name),
            )
            journal.note(self._connection, journal.COPIED + table.name, rows)

    def drop_keys(self, kept: set[str]) -> None:
        """Drop the foreign keys and indexes that an earlier run had begun to add to kept tables."""
        import sqlalchemy
        from sqlalchemy.schema import DropConstraint, DropIndex

        metadata = sqlalchemy.MetaData()
        names = [table.name for table in self._transfer.tables if table.name in kept]
        metadata.reflect(self._connection, only=names)
        interruption.check()
        for table in metadata.tables.values():
            for constraint in table.foreign_key_constraints:
                self._connection.execute(DropConstraint(constraint))
        for table in metadata.tables.values():
            for index in table.indexes:
                self._connection.execute(DropIndex(index))

    def add_keys(self, restarts: Callable[[str], bool]) -> None:
        """Add keys, indexes and statistics, and check the schema that came of it.

        In the tables that `restarts` is true for, the next key follows the highest one carried.
        Raises TuneError where the schema does not match the models or does not accept a new row.
        """
        target, copies = self._transfer.target, self._transfer.copies
        step = "adding keys and indexes"
        self._progress.begin(step, len(schema.additions(copies, self._writer)))
        with self._result.timed(Step.KEYS):
            for addition in schema.complete_tables(self._writer, copies):
                self._progress.advance(1, addition.table.name)
                self._progress.current_step = addition.sentence
            self._progress.current_step = step
            keys = self._result.last_keys = sequences.last_keys(self._transfer, restarts)
            sequences.set_last_keys(target, copies, keys)
            self._writer.analyze(copies)
        with self._result.timed(Step.SCHEMA_CHECK):
            self._result.schema = schema_check.compare(target, copies)
            if self._result.schema.mismatches:
                sentences = "; ".join(item.sentence for item in self._result.schema.mismatches)
                raise TuneError(f"the schema of the target does not match the models: {sentences}")
            self._result.inserts_tried = schema_check.try_inserts(target, copies, keys)

    def stamp(self) -> None:
        """Write the revision, and mark the target as complete."""
        stamp, revisions = schema.stamp_table(), self._result.plan.revision
        if revisions:
            stamp.create(self._connection)
        with self._target.step_transaction():
            if revisions:
                rows = [{"version_num": revision} for revision in revisions]
                self._connection.execute(stamp.insert(), rows)
            moment = time.strftime("%Y-%m-%d %H:%M:%S")
            journal.note(self._connection, journal.COMPLETE, moment)
