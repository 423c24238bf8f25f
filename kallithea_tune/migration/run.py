"""The whole migration, one step after the other; each step is a function that can be called alone."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Protocol

from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.migration import connect, finish, plan, schema, target, verify
from kallithea_tune.migration.dialects import dialect_of
from kallithea_tune.migration.transfer import End, copy_table

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.instance import Instance
    from kallithea_tune.migration.plan import Plan
    from kallithea_tune.migration.verify import Checked


class Progress(Protocol):
    """Told what is under way; `total` is the number of rows or steps, 0 where unknown."""

    def begin(self, step: str, total: int) -> None:
        """Begin a step."""

    def advance(self, number: int, what: str = "") -> None:
        """Say that `number` more are done, of the table `what`."""


class Silence:
    """Progress that nobody watches."""

    def begin(self, step: str, total: int) -> None:
        """Do nothing."""

    def advance(self, number: int, what: str = "") -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Options:
    """What can be chosen; the meaning of each is that of the command's option of the same name."""

    extra_tables: bool = False
    replace: bool = False
    metadata: str = ""


@dataclass
class Report:
    """What was done and measured: `seconds` for each step, rows for each table."""

    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    last_keys: dict[str, int] = field(default_factory=dict)
    inserts_tried: int = 0
    verified: list[Checked] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        """What verification found to differ, a sentence for each column or kind of rows."""
        return [item.sentence for checked in self.verified for item in checked.differences]

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a step took."""
        begun = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0) + time.perf_counter() - begun


class Migration:
    """Both ends, connected, and what is to go over. Use it in a ``with`` statement, which closes both."""

    def __init__(self, instance: Instance, url: str, options: Options, progress: Progress) -> None:
        self.options, self.progress = options, progress
        self._stack = contextlib.ExitStack()
        metadata: MetaData = instance.metadata(options.metadata)
        self.heads = instance.schema_heads()
        self.source = self._end(connect.source_engine(instance.database_url), "sqlalchemy.url")
        self.target = self._end(connect.target_engine(url), "--to")
        self.source.dialect.begin_snapshot(self.source.connection)
        self.tables, unknown = plan.tables_of(self.source, metadata, options.extra_tables)
        copies = schema.for_target(self.tables, self.target.dialect, metadata)
        self.copies: list[Table] = [copies.tables[table.name] for table in self.tables]
        self.plan = plan.make(self.source, self.target, self.tables, copies, unknown)
        self.report = Report(self.plan)

    def _end(self, engine: Any, name: str) -> End:
        connection = target.reach(engine, name)
        self._stack.callback(connection.close)
        return End(connection, dialect_of(engine))

    def __enter__(self) -> Migration:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def check(self) -> None:
        """Raise Refused when source or target are not what they must be."""
        if not self.tables:
            raise Refused("the source %s has none of the application's tables" % self.plan.source)
        if self.heads and self.plan.revision != self.heads:
            raise Refused(
                "the source is at revision %s, this application wants %s; upgrade the database first"
                % (", ".join(self.plan.revision) or "none", ", ".join(self.heads)))
        if not self.options.replace:
            target.require_empty(self.target.connection)

    def run(self) -> Report:
        """Carry everything over and prove that the target is whole. Raises TuneError when it is not.

        The revision is written last, so that the application cannot start on less than the whole.
        """
        with self.target.connection.begin():
            if self.options.replace:
                target.drop_tables(self.target.connection, target.existing_tables(self.target.connection))
            self._transfer()
            self._finish()
            self.verify()
            if self.report.differences:
                raise TuneError("what arrived is not what the source has, so the target %s: %s" % (
                    "was rolled back" if self.target.dialect.transactional_ddl else "was left without a revision",
                    "; ".join(self.report.differences)))
            self._stamp()
        return self.report

    def verify(self) -> Report:
        """Compare rows and checksums of every column as both sides stand; `Report.differences` says what differs.

        Raises Refused when the target lacks a table.
        """
        missing = sorted({table.name for table in self.tables} - set(target.existing_tables(self.target.connection)))
        if missing:
            raise Refused("the target %s lacks %d of the tables (%s), so there is nothing to verify" % (
                self.plan.target, len(missing), target.shortened(missing)))
        self.progress.begin("verifying", self.plan.rows)
        with self.report.timed("verify"):
            self.report.verified = list(verify.check(
                self.source.connection, self.target.connection, self.tables,
                lambda name, number: self.progress.advance(number, name)))
        return self.report

    def _transfer(self) -> None:
        self.target.dialect.begin_load(self.target.connection)
        schema.create_tables(self.target.connection, self.copies, self.target.dialect)
        self.progress.begin("copying", self.plan.rows)
        with self.report.timed("copy"):
            for table, copy in zip(self.tables, self.copies):
                self.report.rows[table.name] = copy_table(
                    self.source, self.target, table, copy, lambda number: self.progress.advance(number))

    def _finish(self) -> None:
        keys = self.report.last_keys = finish.last_keys(self.source, self.tables)
        self.progress.begin("keys and indexes", len(self.copies))
        with self.report.timed("keys and indexes"):
            for copy in schema.complete_tables(self.target.connection, self.copies, self.target.dialect):
                self.progress.advance(1, copy.name)
            finish.set_last_keys(self.target, self.copies, keys)
            self.target.dialect.analyze(self.target.connection, self.copies)
        with self.report.timed("proof"):
            differing = finish.differences(self.target, self.copies)
            if differing:
                raise TuneError("the target's tables are not as the models say: %s" % "; ".join(differing))
            self.report.inserts_tried = finish.try_inserts(self.target, self.copies, keys)

    def _stamp(self) -> None:
        if self.plan.revision:
            stamp = schema.stamp_table()
            stamp.create(self.target.connection)
            self.target.connection.execute(
                stamp.insert(), [{"version_num": revision} for revision in self.plan.revision])
