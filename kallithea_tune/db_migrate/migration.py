"""A migration, step by step; every step can be called on its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Iterator, Optional, Union

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
from kallithea_tune.db_migrate.inventory.fates import Choices
from kallithea_tune.db_migrate.inventory.items import require_accepted
from kallithea_tune.db_migrate.inventory.survey import survey
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.db_migrate.options import Options
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.preflight import beside
from kallithea_tune.db_migrate.preflight.beside import Beside, ProblemsFound
from kallithea_tune.db_migrate.preflight.fix_options import parse_fixes
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.preflight.record import Circumstances, RecordFile
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.db_migrate.progress import Progress, ProgressTracker
from kallithea_tune.db_migrate.quarantine import Quarantine
from kallithea_tune.db_migrate.result import DryRun, MigrationResult, Step
from kallithea_tune.db_migrate.source import Source
from kallithea_tune.db_migrate.target import Target
from kallithea_tune.db_migrate.verify import compare
from kallithea_tune.db_migrate.verify import schema as schema_check
from kallithea_tune.db_migrate.verify.ahead import FingerprintedAhead
from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.system.account import acting_as, as_invoker

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.config.instance import Instance
    from kallithea_tune.db_migrate.copy import Amend
    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.estimate import Estimate
    from kallithea_tune.db_migrate.verify.fingerprint import Fingerprinter


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
        self._record = RecordFile(instance.path, quarantine.named_after(self.target.endpoint))
        self._opened.callback(as_invoker()(self.quarantine.close))

    def _choose_tables(self, metadata: MetaData) -> None:
        source, target = self.source.endpoint, self.target.endpoint
        choices = Choices(self.options.extra_tables, self.options.leave)
        surveyed = survey(source, target, metadata, application.schema_history(), choices)
        self.tables = surveyed.tables
        copies = schema.for_target(self.tables, target.writer, metadata)
        self.copies: list[Table] = [copies.tables[table.name] for table in self.tables]
        self.plan = plan.make(self.transfer, surveyed)

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

    def lock_holders(self) -> str:
        """Return which sessions have locked tables for themselves; empty where that is unknown."""
        for database in (self.source, self.target):
            with contextlib.suppress(Exception):
                holders = database.endpoint.lock_holders()
                if holders:
                    return holders
        return ""

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
        require_accepted(self.plan.items)
        if self.target.state is TargetState.FOREIGN and not self.options.replace:
            targets.require_empty(self.target.endpoint.connection)

    def run_preflight(self) -> PreflightResult:
        """Find every row that the target would refuse or change; nothing is written."""
        self.progress.begin("running preflight", self.plan.rows)
        rows = {table.name: table.rows for table in self.plan.tables}
        with translated(self), self.result.timed(Step.PREFLIGHT):
            self.preflight = Preflight.of(self.transfer).run(
                self._chosen_fixes, lambda table: self.progress.advance(rows[table], table)
            )
        self.result.violations = self.preflight.violations
        self.result.unchecked = self.preflight.unchecked
        return self.preflight

    def _is_proven(self) -> bool:
        """Tell whether a dry run found nothing, and nothing has changed since."""
        if self._chosen_fixes:
            return False
        with translated(self), self.result.timed(Step.PREFLIGHT):
            proven, self.result.preflight = self._record.proves(self._circumstances)
            if proven:
                self.preflight = Preflight.of(self.transfer).found_nothing()
        return proven

    def _circumstances(self) -> Circumstances:
        return Preflight.of(self.transfer).circumstances(self.source.identity)

    def require_no_problems(self) -> None:
        """Run preflight; raise Refused when it finds problems that no chosen fix covers.

        It is not run where an earlier dry run has proven that there are none.
        """
        if not self._is_proven():
            self.run_preflight()
        self.preflight.require_none(self.if_stopped.value)

    def dry_run(self) -> DryRun:
        """Plan, run preflight and estimate the time, after which no other step is possible.

        Where preflight finds nothing, the next run knows it by a record beside the ini file.
        """
        found = self.run_preflight()
        if not (self._chosen_fixes or found.violations or found.unchecked):
            with translated(self):
                self._record.write(self._circumstances())
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
            self.target.reserve()
            if not self._complete and not self.target.is_file:
                targets.require_usable(self.target.endpoint)
            if not self._complete:
                self._preflight_and_fill()
                return self.result
            self.target.require_columns(self.copies)
            self.require_no_problems()
            self.verify_tables()
            if self.result.differences:
                raise Refused(
                    "the source was written to since it was copied "
                    f"({self.result.first_difference}); --catch-up transfers the changes"
                )
        return self.result

    def _preflight_and_fill(self) -> None:
        """Fill the target, and run preflight beside that where everything can be undone.

        Fixes need its result first.
        """
        undoable = self.target.atomic or self.target.state is TargetState.EMPTY
        if self._chosen_fixes or not undoable:
            self.require_no_problems()
            self._fill(None)
            return
        try:
            proven = self._is_proven()
            with beside.begun(self.source, self.target, self.transfer, proven) as second:
                if second is None:
                    if not proven:
                        self.require_no_problems()
                    self._fill(None)
                    return
                with second.problems_first():
                    self._fill(second)
        except ProblemsFound:
            self.target.undo(self.copies)
            self.if_stopped = IfStopped.UNTOUCHED
            # All of them, for the report.
            self.require_no_problems()
            raise

    def _fill(self, second: Optional[Beside]) -> None:
        self._open_quarantine()
        self.target.stage()
        atomic = self.target.atomic
        self.if_stopped = IfStopped.AS_BEFORE if atomic else IfStopped.PARTLY_FILLED
        with self.target.transaction():
            copy = InitialCopy(self.target, self.transfer, self._amend, self.progress, self.result)
            kept = copy.prepare(self.options.replace)
            copy.copy_rows(kept, second.check if second else None)
            if kept:
                copy.drop_keys(kept)
                with self.target.step_transaction():
                    self._apply_changes(self.transfer.only(kept), {})
            copy.add_keys(self.preflight.fixes.restarts)
            if second:
                self.result.seconds[Step.PREFLIGHT] = second.require_no_problems().seconds
            self.verify_tables(second)
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

        Raises Refused when the target is not complete, or has or may have rows that the source
        never had.
        """
        with translated(self):
            self.target.reserve()
            self.target.require_complete()
            self.target.require_columns(self.copies)
            self.renew_snapshot()
            is_strict = self.target.endpoint.writer.strict
            if self._chosen_fixes or not is_strict or sequences.any_exhausted(self.transfer):
                self.require_no_problems()
            self._open_quarantine()
            self.if_stopped = IfStopped.AS_BEFORE_CATCHING_UP
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
            self.preflight.require_none(self.if_stopped.value)
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
            fixes = self.preflight.fixes
            self.result.changes, self.result.verified = catch_up.apply_changes(
                transfer,
                last_keys,
                self._verified,
                fixes,
                lambda table, row: self.quarantine.keep(fixes, table, row),
            )
        self.result.last_keys = sequences.last_keys(transfer, self.preflight.fixes.restarts)

    def _verified(self, table: str, count: int) -> None:
        self.progress.advance(count, table)

    def verify_tables(self, second: Optional[Beside] = None) -> None:
        """Compare every table, into the `result`; the `second` process has read the source."""
        self.progress.begin("verifying", self.plan.rows)
        target = self.target.endpoint
        source: Union[Engine, Fingerprinter] = self.source.endpoint
        if second:
            source = FingerprintedAhead(self.source.endpoint, second.fingerprints())
        with self.result.timed(Step.VERIFY):
            self.result.verified = list(
                compare.compare_tables(
                    source, target, self.tables, self._verified, self.preflight.fixes
                )
            )

    def verify(self) -> MigrationResult:
        """Compare schema, rows and checksums; `differences` of the result has what differs.

        What the chosen fixes change does not count as a difference. Raises Refused when the target
        lacks a table or a column.
        """
        self.target.require_columns(self.copies)
        if self._chosen_fixes:
            self.run_preflight()
        with translated(self):
            self.result.schema = schema_check.compare(self.target.endpoint, self.copies)
            self.verify_tables()
        return self.result
