"""Both ends of a migration, connected, what is to go over, and what several of its steps need."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence, TypeVar

from kallithea_tune.app import application
from kallithea_tune.db_migrate import catch_up, finish, journal, plan, quarantine, schema
from kallithea_tune.db_migrate.copy import End
from kallithea_tune.db_migrate.destination import Destination
from kallithea_tune.db_migrate.driver_errors import explained
from kallithea_tune.db_migrate.journal import State
from kallithea_tune.db_migrate.options import Options, Report
from kallithea_tune.db_migrate.preflight import rules
from kallithea_tune.db_migrate.preflight.look import Look, Preflight
from kallithea_tune.db_migrate.progress import Progress, Watched
from kallithea_tune.db_migrate.quarantine import Quarantine
from kallithea_tune.db_migrate.source import Source
from kallithea_tune.db_migrate.verify import compare
from kallithea_tune.errors import Refused, TuneError

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.config.instance import Instance

_Job = TypeVar("_Job", bound="Job")


class Job:
    """Use it in a ``with`` statement, which closes both ends. `stands` says what is where should it
    end now.

    `origin` is the source as it goes on, `found` what preflight found, `chosen` the fixes for it.
    """

    def __init__(
        self,
        instance: Instance,
        url: str,
        options: Optional[Options] = None,
        progress: Optional[Progress] = None,
    ) -> None:
        self.instance, self.url, self.options = instance, url, options or Options()
        self.progress = Watched(progress)
        self.chosen = rules.chosen(self.options.fixes)
        self.stands = "nothing was changed"
        self._stack = contextlib.ExitStack()
        metadata: MetaData = application.metadata(instance, self.options.metadata)
        self.heads = application.schema_heads(instance)
        with contextlib.ExitStack() as opened, explained(self):
            self.destination = Destination(url)
            opened.callback(lambda: self.destination.close())
            self.origin = Source(instance.database_url)
            opened.callback(lambda: self.origin.close())
            self.tables, unknown = plan.tables_of(self.source, metadata, self.options.extra_tables)
            copies = schema.for_target(self.tables, self.target.dialect, metadata)
            self.copies: list[Table] = [copies.tables[table.name] for table in self.tables]
            self.plan = plan.make(self.source, self.target, self.tables, copies, unknown)
            self._stack = opened.pop_all()
        self.report, self.found = Report(self.plan), Preflight()
        self.quarantine = Quarantine(
            self.options.quarantine or quarantine.usual_path(instance.path, self.target)
        )
        self._stack.callback(self.quarantine.close)
        self.progress.rows = {table.name: table.rows for table in self.plan.tables}

    @property
    def doing(self) -> str:
        """What is under way."""
        return self.progress.doing

    @property
    def source(self) -> End:
        """The source at one moment."""
        return self.origin.end

    @property
    def target(self) -> End:
        """The target."""
        return self.destination.end

    def __enter__(self: _Job) -> _Job:
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.end()
        self._stack.close()

    def look(self) -> Preflight:
        """Find every row that the target would refuse or change; nothing is written."""
        self.progress.begin("preflight", self.plan.rows)
        rows = {table.name: table.rows for table in self.plan.tables}
        with explained(self), self.report.timed("preflight"):
            self.found = Look(self.source, self.target, self.tables, self.copies).around(
                self.chosen, lambda name: self.progress.advance(rows[name], name)
            )
        self.report.findings, self.report.unseen = self.found.findings, self.found.unseen
        return self.found

    def require_mended(self) -> None:
        """Raise Refused when there are rows that the target would refuse or change, and that no
        chosen fix mends.
        """
        self.look()
        self.require_none_blocking()

    def require_none_blocking(self) -> None:
        """Raise Refused when such rows were found."""
        blocking = len(self.found.blocking)
        if blocking:
            raise Refused(
                "%s: preflight has %d %s that no chosen fix mends"
                % (self.stands, blocking, "finding" if blocking == 1 else "findings")
            )

    def open_quarantine(self) -> None:
        """Have a file ready for the rows that the fixes change or leave out, when there are any."""
        if self.found.fixes.needed:
            whole = self.destination.state is State.whole and not self.options.replace
            self.quarantine.prepare(whole or self.destination.state is State.unfinished)
            self.report.quarantine, self.report.mended = (
                self.quarantine.path,
                self.quarantine.counts,
            )

    def verify_tables(self, tables: Sequence[Table]) -> None:
        """Compare rows and checksums of `tables`."""
        self.progress.begin("verifying", self.plan.rows)
        with self.report.timed("verify"):
            self.report.verified = list(
                compare.check(
                    self.source.connection,
                    self.target.connection,
                    tables,
                    lambda name, number: self.progress.advance(number, name),
                    self.found.fixes,
                )
            )

    def bring(self, tables: Sequence[Table], copies: Sequence[Table], last_keys: Any) -> None:
        """Make `copies` of the target hold what `tables` of the source hold, and compare them after
        it.
        """
        self.progress.begin("catching up", sum(table.rows for table in self.plan.tables))
        with self.report.timed("catch up"):
            self.report.changes, self.report.verified = catch_up.bring(
                self.source,
                self.target,
                tables,
                copies,
                last_keys,
                lambda name, number: self.progress.advance(number, name),
                self.found.fixes,
                lambda name: self.quarantine.amend(self.found.fixes, name),
            )
        self.report.last_keys = finish.last_keys(self.source, self.tables)

    def require_the_same(self, otherwise: str) -> None:
        """Raise TuneError when the comparison found a difference, by which the target
        `otherwise`.
        """
        if self.report.differences:
            raise TuneError(
                f"what arrived is not what the source has, so the target {otherwise}: {self.report.first_difference}"
            )

    def note_keys(self) -> None:
        """Write down the greatest keys that were brought over."""
        for name, key in self.report.last_keys.items():
            journal.note(self.target.connection, journal.LAST_KEY + name, key)

    @contextlib.contextmanager
    def unit(self) -> Iterator[None]:
        """Make a transaction of what is inside, unless everything is one anyway."""
        with (
            contextlib.nullcontext()
            if self.target.dialect.transactional_ddl
            else self.target.connection.begin()
        ):
            yield
