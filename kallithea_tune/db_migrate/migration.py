"""A migration, step by step; every step can be called on its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Iterator, Optional

from kallithea_tune.app import application
from kallithea_tune.app.owner import owner_of
from kallithea_tune.db.interruptible import transaction
from kallithea_tune.db_migrate import (
    catch_up,
    estimate,
    journal,
    plan,
    quarantine,
    schema,
    sequences,
)
from kallithea_tune.db_migrate import target as targets
from kallithea_tune.db_migrate.cutover import Cutover
from kallithea_tune.db_migrate.driver_errors import IfStopped, translated
from kallithea_tune.db_migrate.initial_copy import InitialCopy
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.db_migrate.options import Options
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.preflight.fix_options import parse_fixes
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.db_migrate.progress import Progress, ProgressTracker
from kallithea_tune.db_migrate.quarantine import Quarantine
from kallithea_tune.db_migrate.result import DryRun, MigrationResult, Step
from kallithea_tune.db_migrate.source import Source
from kallithea_tune.db_migrate.target import Target
from kallithea_tune.db_migrate.verify import compare
from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.system.account import acting_as, as_invoker

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.config.instance import Instance
    from kallithea_tune.db_migrate.copy import Amend
    from kallithea_tune.db_migrate.estimate import Estimate


class Migration:
    """The steps of a migration; use it in a ``with`` statement, which closes both databases.

    Until then root is the `owner` of the data, except to write quarantine and ini file.

    `plan` says what there is to copy, `preflight` what was found that the target would refuse,
    `result` what was done so far, and `if_stopped` what is left when it stops now. `cutover` has
    the steps after the copy.
    """

    def __init__(
        self,
        instance: Instance,
        url: str,
        options: Optional[Options] = None,
        progress: Optional[Progress] = None,
    ) -> None:
        self.instance, self.url, self.options = instance, url, options or Options()
        self.progress = ProgressTracker(progress)
        self.if_stopped = IfStopped.UNTOUCHED
        self._chosen_fixes = parse_fixes(self.options.fixes)
        self.cutover = Cutover(self)
        self.owner = owner_of(instance, url)
        with contextlib.ExitStack() as opened, translated(self):
            opened.enter_context(acting_as(self.owner.account))
            metadata: MetaData = application.metadata()
            self._heads = application.schema_heads()
            self.target = Target(url)
            opened.callback(lambda: self.target.close())
            self.source = Source(instance.database_url)
            opened.callback(lambda: self.source.close())
            self._choose_tables(metadata)
            self._opened = opened.pop_all()
        self.progress.table_rows = {table.name: table.rows for table in self.plan.tables}
        self.preflight, self.result = PreflightResult(), MigrationResult(self.plan)
        path = self.options.quarantine or quarantine.usual_path(instance.path, self.target.endpoint)
        if self.options.quarantine or self._chosen_fixes:
            as_invoker()(quarantine.require_usable)(path, instance, self.target)
        self.quarantine = Quarantine(path)
        self._opened.callback(as_invoker()(self.quarantine.close))

    def _choose_tables(self, metadata: MetaData) -> None:
        source, writer = self.source.endpoint, self.target.endpoint.writer
        self.tables, unknown = plan.tables_of(source, metadata, self.options.extra_tables)
        copies = schema.for_target(self.tables, writer, metadata)
        self.copies: list[Table] = [copies.tables[table.name] for table in self.tables]
        self.plan = plan.make(self.transfer, unknown)

    def __enter__(self) -> Migration:
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.end()
        self.cutover.end()
        self._opened.close()

    def cancel(self) -> None:
        """Make the statements that both databases are executing fail; for another thread."""
        for database in (self.source, self.target):
            with contextlib.suppress(Exception):
                database.endpoint.cancel()

    @property
    def current_step(self) -> str:
        """What is being done, as in "copying users"."""
        return self.progress.current_step

    @property
    def transfer(self) -> Transfer:
        """Both databases, as they are connected now, and all tables."""
        return Transfer(self.source.endpoint, self.target.endpoint, self.tables, self.copies)

    @property
    def tables_to_drop(self) -> list[str]:
        """The tables of the target that `run` drops first."""
        return self.target.tables if self.options.replace else []

    @property
    def _complete(self) -> bool:
        """Whether an earlier run filled the target completely, and it is not to be replaced."""
        return self.target.state is TargetState.COMPLETE and not self.options.replace

    def check(self) -> None:
        """Raise Refused when the source or the target is not in a state to migrate."""
        if not self.tables:
            raise Refused(f"the source {self.plan.source} has none of the application's tables")
        self.plan.require_revision(self._heads)
        if self.target.state is TargetState.FOREIGN and not self.options.replace:
            targets.require_empty(self.target.endpoint.connection)

    def run_preflight(self) -> PreflightResult:
        """Find every row that the target would refuse or change; nothing is written."""
        self.progress.begin("running preflight", self.plan.rows)
        rows = {table.name: table.rows for table in self.plan.tables}
        transfer = self.transfer
        with translated(self), self.result.timed(Step.PREFLIGHT):
            self.preflight = Preflight(
                transfer.source, transfer.target, transfer.tables, transfer.copies
            ).run(self._chosen_fixes, lambda table: self.progress.advance(rows[table], table))
        self.result.violations = self.preflight.violations
        self.result.unchecked = self.preflight.unchecked
        return self.preflight

    def require_no_problems(self) -> None:
        """Run preflight; raise Refused when it finds problems that no chosen fix covers."""
        self.run_preflight()
        self._refuse_problems()

    def _refuse_problems(self) -> None:
        count = len(self.preflight.blocking)
        if count:
            problems = "problem" if count == 1 else "problems"
            raise Refused(
                f"{self.if_stopped.value}: preflight found {count} {problems} that no --fix covers"
            )

    def dry_run(self) -> DryRun:
        """Plan, run preflight and estimate the time, after which no other step is possible."""
        self.run_preflight()
        return DryRun(self.plan, self.preflight, self.estimate(), self.tables_to_drop)

    def estimate(self) -> Optional[Estimate]:
        """Measure a sample, after which no other step is possible.

        Returns None where preflight found problems.
        """
        if self.preflight.blocking:
            return None
        with translated(self):
            return estimate.measure(self.transfer, self.plan, self.preflight.fixes.amend)

    def run(self) -> MigrationResult:
        """Copy everything, or what an interrupted run left to do, and verify the target.

        A complete target is only verified: raises Refused when the source has changed since. Raises
        TuneError when the target differs from the source. The revision is written last, so that the
        application does not start on an incomplete database.
        """
        with translated(self):
            if not self._complete and not self.target.is_file:
                targets.require_usable(self.target.endpoint)
            self.require_no_problems()
            if not self._complete:
                self._fill()
                return self.result
            self.verify_tables()
            if self.result.differences:
                raise Refused(
                    "the source was written to since it was copied "
                    f"({self.result.first_difference}); --catch-up transfers the changes"
                )
        return self.result

    def _fill(self) -> None:
        self._open_quarantine()
        self.target.stage()
        atomic = self.target.atomic
        self.if_stopped = IfStopped.AS_BEFORE if atomic else IfStopped.PARTLY_FILLED
        with self.target.transaction():
            copy = InitialCopy(self.target, self.transfer, self._amend, self.progress, self.result)
            kept = copy.prepare(self.options.replace)
            copy.copy_rows(kept)
            if kept:
                copy.drop_keys(kept)
                with self.target.step_transaction():
                    self._apply_changes(self.transfer.only(kept), {})
            copy.add_keys()
            self.verify_tables()
            self.result.require_no_differences(
                "was rolled back" if atomic else "was left without a revision"
            )
            with self.target.step_transaction():
                journal.note_last_keys(self.target.endpoint.connection, self.result.last_keys)
            copy.stamp()
        self.target.publish()
        self.if_stopped = IfStopped.VERIFIED

    def catch_up(self) -> MigrationResult:
        """Transfer what is new, changed and deleted since the copy, and verify it.

        Raises Refused when the target is not complete or has rows that the source never had.
        """
        with translated(self):
            if self.target.state is not TargetState.COMPLETE:
                raise Refused(
                    f"the target {self.plan.target} was not filled completely by db-migrate from "
                    "this source, so there is nothing to catch up with"
                )
            self.renew_snapshot()
            if self._chosen_fixes or not self.target.endpoint.writer.strict:
                self.require_no_problems()
            self._open_quarantine()
            self.if_stopped = IfStopped.AS_BEFORE_CATCHING_UP
            self.target.reserve()
            self._catch_up()
            self.if_stopped = IfStopped.VERIFIED
        return self.result

    def _catch_up(self) -> None:
        connection = self.target.endpoint.connection
        last_keys = journal.numbers(self.target.entries or {}, journal.LAST_KEY)
        with self._preflight_on_error(), transaction(connection):
            self._apply_changes(self.transfer, last_keys)
            self.result.require_no_differences("is as it was before catching up")
            journal.note_last_keys(connection, self.result.last_keys)
        # MariaDB commits here.
        sequences.set_last_keys(self.target.endpoint, self.copies, self.result.last_keys)
        connection.connection.commit()

    @contextlib.contextmanager
    def _preflight_on_error(self) -> Iterator[None]:
        """Run preflight when a strict target refuses a row, to report all of them.

        Running it in any case would lengthen the downtime.
        """
        try:
            yield
        except Refused:
            raise
        except Exception:
            step = self.current_step
            with contextlib.suppress(TuneError):
                self.run_preflight()
            self.progress.current_step = step
            self._refuse_problems()
            raise

    def renew_snapshot(self) -> None:
        """Take a new snapshot of the source where it may have been written to."""
        if self.source.maybe_written():
            self.source.take_snapshot()
            self.cutover.forget_source()

    def _open_quarantine(self) -> None:
        """Open the file for the rows that fixes change or leave out, when there are any."""
        if self.preflight.fixes.needed:
            resume = self._complete or self.target.state is TargetState.PARTLY_FILLED
            as_invoker()(self.quarantine.prepare)(resume)
            self.result.quarantine = self.quarantine.path
            self.result.fixed = self.quarantine.counts

    def _amend(self, table: str) -> Optional[Amend]:
        return self.quarantine.amend(self.preflight.fixes, table)

    def _apply_changes(self, transfer: Transfer, last_keys: dict[str, int]) -> None:
        self.progress.begin("catching up", self.plan.rows)
        with self.result.timed(Step.CATCH_UP):
            self.result.changes, self.result.verified = catch_up.apply_changes(
                transfer, last_keys, self._verified, self.preflight.fixes, self._amend
            )
        self.result.last_keys = sequences.last_keys(self.source.endpoint, self.tables)

    def _verified(self, table: str, count: int) -> None:
        self.progress.advance(count, table)

    def verify_tables(self) -> None:
        """Compare every table, into the `result`."""
        self.progress.begin("verifying", self.plan.rows)
        source, target = self.source.endpoint, self.target.endpoint
        with self.result.timed(Step.VERIFY):
            self.result.verified = list(
                compare.compare_tables(
                    source, target, self.tables, self._verified, self.preflight.fixes
                )
            )

    def verify(self) -> MigrationResult:
        """Compare rows and checksums of every column; `differences` of the result has what differs.

        What the chosen fixes change does not count as a difference. Raises Refused when the target
        lacks a table.
        """
        self.target.require_tables(self.tables)
        if self._chosen_fixes:
            self.run_preflight()
        with translated(self):
            self.verify_tables()
        return self.result
