"""The whole migration, one step after the other; each step is a function that can be called
alone.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Iterator, Optional

from kallithea_tune.db_migrate import estimate, finish, initial_copy, journal, target
from kallithea_tune.db_migrate.driver_errors import explained
from kallithea_tune.db_migrate.job import Job
from kallithea_tune.db_migrate.journal import State
from kallithea_tune.db_migrate.options import Report
from kallithea_tune.errors import Refused, TuneError

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.application import Asked
    from kallithea_tune.db_migrate.estimate import Estimate

SERVER_ERROR = 500  # the least status of HTTP that is the server's fault


class Migration(Job):
    """The steps. Use it in a ``with`` statement, which closes both ends.

    `stands` says what is where should it end now.
    """

    _ahead: Optional[Future[Asked]] = None

    def check(self) -> None:
        """Raise Refused when source or target are not what they must be."""
        if not self.tables:
            raise Refused(f"the source {self.plan.source} has none of the application's tables")
        if self.heads and self.plan.revision != self.heads:
            raise Refused(
                "the source is at revision {}, this application wants {}; upgrade the database first".format(
                    ", ".join(self.plan.revision) or "none", ", ".join(self.heads)
                )
            )
        if self.destination.state is State.foreign and not self.options.replace:
            target.require_empty(self.target.connection)

    def run(self) -> Report:
        """Carry everything over, or what an earlier run left, and prove that the target is whole.

        Raises TuneError when it is not, and Refused when a whole target is not as the source is
        now. The revision is written last, so that the application cannot start on less than the
        whole.
        """
        with explained(self):
            whole = self.destination.state is State.whole and not self.options.replace
            if not whole and not self.destination.is_file:
                target.require_able(self.target)
            self.require_mended()
            if whole:
                self.verify_tables(self.tables)
                if self.report.differences:
                    raise Refused(
                        f"the source was written to since it was copied ({self.report.first_difference}); --catch-up brings that over"
                    )
            else:
                initial_copy.carry_out(self)
        return self.report

    def catch_up(self) -> Report:
        """Bring over what is new, changed and gone since the copy, and verify it.

        Raises Refused when the target is not whole or has rows that never were in the source.
        """
        with explained(self):
            if self.destination.state is not State.whole:
                raise Refused(
                    f"the target {self.plan.target} was not filled by db-migrate from this source, or not to its end, so there"
                    " is nothing to catch up with"
                )
            self._renew()
            if self.chosen or not self.target.dialect.strict:
                self.require_mended()
            self.open_quarantine()
            self.stands = "the target is as it was before catching up"
            self.destination.reserve()
            with self._preflight_if_refused(), self.target.connection.begin():
                self.bring(
                    self.tables,
                    self.copies,
                    journal.named(self.destination.entries or {}, journal.LAST_KEY),
                )
                self.require_the_same("is as it was before")
                self.note_keys()
            # In MariaDB this commits.
            finish.set_last_keys(self.target, self.copies, self.report.last_keys)
            self.target.connection.connection.commit()
            self.stands = "the target is whole and verified"
        return self.report

    def _renew(self) -> None:
        """Have the source as it is now."""
        if self.origin.maybe_written():
            self.origin.begin()
            self._ahead = None

    @contextlib.contextmanager
    def _preflight_if_refused(self) -> Iterator[None]:
        """Have preflight name the rows that a strict target does not take. Before, its time would
        be downtime.
        """
        try:
            yield
        except Refused:
            raise
        except Exception:
            doing = self.doing
            with contextlib.suppress(TuneError):
                self.look()
            self.progress.doing = doing
            if self.found.blocking:
                self.require_none_blocking()
            raise

    def verify(self) -> Report:
        """Compare rows and checksums of every column as both sides stand; `Report.differences` says
        what differs.

        What the chosen fixes make of a row is no difference. Raises Refused when the target lacks a
        table.
        """
        missing = sorted({table.name for table in self.tables} - set(self.destination.tables))
        if missing:
            raise Refused(
                "the target %s lacks %d of the tables (%s), so there is nothing to verify"
                % (self.plan.target, len(missing), target.shortened(missing))
            )
        if self.chosen:
            self.look()
        with explained(self):
            self.verify_tables(self.tables)
        return self.report

    @property
    def dropped(self) -> list[str]:
        """The tables of the target that `run` drops first."""
        return self.destination.tables if self.options.replace else []

    def estimate(self) -> Optional[Estimate]:
        """Measure a sample, after which nothing else can be asked of this migration. None while
        rows are to be mended.
        """
        if self.found.blocking:
            return None
        with explained(self):
            return estimate.measure(
                self.source,
                self.target,
                self.tables,
                self.copies,
                self.plan,
                self.found.fixes.amend,
            )

    def forget(self) -> None:
        """Drop the journal: from now on the target belongs to the application."""
        with explained(self), self.target.connection.begin():
            journal.drop(self.target.connection)

    def ask_ahead(self) -> None:
        """Begin to ask the application on the source, while `catch_up` works, for what
        `ask_application` needs.
        """
        from kallithea_tune.db_migrate import application

        with explained(self):
            self._renew()
        worker = ThreadPoolExecutor(1)
        self._ahead = worker.submit(application.ask, self.instance)
        worker.shutdown(wait=False)

    def ask_application(self) -> Report:
        """Have the application answer pages on both databases. Raises TuneError when it does not
        answer the same.
        """
        from kallithea_tune.db_migrate import application, switch

        self.progress.begin("asking the application")
        with self.report.timed("application"):
            before = self._ahead.result() if self._ahead else None
            self.report.pages = application.compare(
                self.instance, switch.moved(self.instance, self.url), before
            )
        unlike = [page for page in self.report.pages if page.unlike]
        # Pages of a source that goes on being written to are no measure; their status is.
        if self.found.fixes.needed:
            # Rows that were mended or left out are seen, and may have been why the source fails.
            unlike = [page for page in unlike if page.statuses[1] >= SERVER_ERROR]
        elif self.origin.maybe_written():
            unlike = [page for page in unlike if page.statuses[0] != page.statuses[1]]
        if unlike:
            raise TuneError(
                "the target is whole, but the application does not answer there as it does here: {}".format(
                    "; ".join(page.sentence for page in unlike)
                )
            )
        return self.report

    def require_quiet_source(self) -> None:
        """Raise Refused when the source is not any more what was brought over."""
        with explained(self):
            if self.origin.maybe_written():
                self.origin.begin()
                self.require_mended()
                self.verify_tables(self.tables)
                if self.report.differences:
                    raise Refused(
                        f"the source was written to after the snapshot ({self.report.first_difference}); stop the application, and run the command "
                        "again with --catch-up"
                    )
