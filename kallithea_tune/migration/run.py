"""The whole migration, one step after the other; each step is a function that can be called alone."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence

from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.migration import catch_up, estimate, finish, journal, plan, quarantine, schema, target, verify
from kallithea_tune.migration.destination import Destination
from kallithea_tune.migration.journal import State
from kallithea_tune.migration.outcome import Options, Report
from kallithea_tune.migration.preflight import rules
from kallithea_tune.migration.preflight.look import Look, Preflight
from kallithea_tune.migration.progress import Progress, Watched
from kallithea_tune.migration.quarantine import Quarantine
from kallithea_tune.migration.source import Source
from kallithea_tune.migration.transfer import End, copy_table
from kallithea_tune.migration.trouble import explained

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.instance import Instance
    from kallithea_tune.migration.estimate import Estimate

SERVER_ERROR = 500  # the least status of HTTP that is the server's fault


class Migration:
    """Both ends, connected, and what is to go over. Use it in a ``with`` statement, which closes both.

    `stands` says what is where should it end now.
    """

    def __init__(
        self, instance: Instance, url: str, options: Optional[Options] = None, progress: Optional[Progress] = None,
    ) -> None:
        self.instance, self.url, self.options = instance, url, options or Options()
        self.progress = Watched(progress)
        self._chosen = rules.chosen(self.options.fixes)
        self.stands = "nothing was changed"
        self._stack = contextlib.ExitStack()
        metadata: MetaData = instance.metadata(self.options.metadata)
        self.heads = instance.schema_heads()
        with contextlib.ExitStack() as opened, explained(self):
            self.destination = Destination(url)
            opened.callback(lambda: self.destination.close())
            self._from = Source(instance.database_url)
            opened.callback(lambda: self._from.close())
            self.tables, unknown = plan.tables_of(self.source, metadata, self.options.extra_tables)
            copies = schema.for_target(self.tables, self.target.dialect, metadata)
            self.copies: list[Table] = [copies.tables[table.name] for table in self.tables]
            self.plan = plan.make(self.source, self.target, self.tables, copies, unknown)
            self._stack = opened.pop_all()
        self.report, self._found = Report(self.plan), Preflight()
        self._quarantine = Quarantine(self.options.quarantine or quarantine.usual_path(instance.path, self.target))
        self._stack.callback(self._quarantine.close)
        self.progress.rows = {table.name: table.rows for table in self.plan.tables}

    @property
    def doing(self) -> str:
        """What is under way."""
        return self.progress.doing

    @property
    def source(self) -> End:
        """The source at one moment."""
        return self._from.end

    @property
    def target(self) -> End:
        """The target."""
        return self.destination.end

    def __enter__(self) -> Migration:
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.end()
        self._stack.close()

    def check(self) -> None:
        """Raise Refused when source or target are not what they must be."""
        if not self.tables:
            raise Refused("the source %s has none of the application's tables" % self.plan.source)
        if self.heads and self.plan.revision != self.heads:
            raise Refused(
                "the source is at revision %s, this application wants %s; upgrade the database first"
                % (", ".join(self.plan.revision) or "none", ", ".join(self.heads)))
        if self.destination.state is State.foreign and not self.options.replace:
            target.require_empty(self.target.connection)

    def look(self) -> Preflight:
        """Find every row that the target would refuse or change; nothing is written."""
        self.progress.begin("preflight", self.plan.rows)
        rows = {table.name: table.rows for table in self.plan.tables}
        with explained(self), self.report.timed("preflight"):
            self._found = Look(self.source, self.target, self.tables, self.copies).around(
                self._chosen, lambda name: self.progress.advance(rows[name], name))
        self.report.findings, self.report.unseen = self._found.findings, self._found.unseen
        return self._found

    def run(self) -> Report:
        """Carry everything over, or what an earlier run left, and prove that the target is whole.

        Raises TuneError when it is not, and Refused when a whole target is not as the source is now. The revision is
        written last, so that the application cannot start on less than the whole.
        """
        with explained(self):
            whole = self.destination.state is State.whole and not self.options.replace
            if not whole and not self.destination.is_file:
                target.require_able(self.target)
            self._require_mended()
            if whole:
                self._verify(self.tables)
                if self.report.differences:
                    raise Refused("the source was written to since it was copied (%s); --catch-up brings that over" % (
                        self.report.first_difference))
            else:
                self._fill()
        return self.report

    def catch_up(self) -> Report:
        """Bring over what is new, changed and gone since the copy, and verify it.

        Raises Refused when the target is not whole or has rows that never were in the source.
        """
        with explained(self):
            if self.destination.state is not State.whole:
                raise Refused("the target %s was not filled by db-migrate from this source, or not to its end, so there"
                              " is nothing to catch up with" % self.plan.target)
            if self._from.maybe_written():
                self._from.begin()
            self._require_mended()
            self._open_quarantine()
            self.stands = "the target is as it was before catching up"
            self.destination.reserve()
            with self.target.connection.begin():
                self._bring(self.tables, self.copies, journal.named(self.destination.entries or {}, journal.LAST_KEY))
                self._require_the_same("is as it was before")
                self._note_keys()
            # In MariaDB this commits.
            finish.set_last_keys(self.target, self.copies, self.report.last_keys)
            self.target.connection.connection.commit()
            self.stands = "the target is whole and verified"
        return self.report

    def verify(self) -> Report:
        """Compare rows and checksums of every column as both sides stand; `Report.differences` says what differs.

        What the chosen fixes make of a row is no difference. Raises Refused when the target lacks a table.
        """
        missing = sorted({table.name for table in self.tables} - set(self.destination.tables))
        if missing:
            raise Refused("the target %s lacks %d of the tables (%s), so there is nothing to verify" % (
                self.plan.target, len(missing), target.shortened(missing)))
        if self._chosen:
            self.look()
        with explained(self):
            self._verify(self.tables)
        return self.report

    @property
    def dropped(self) -> list[str]:
        """The tables of the target that `run` drops first."""
        return self.destination.tables if self.options.replace else []

    def estimate(self) -> Optional[Estimate]:
        """Measure a sample, after which nothing else can be asked of this migration. None while rows are to be mended.
        """
        if self._found.blocking:
            return None
        with explained(self):
            return estimate.measure(
                self.source, self.target, self.tables, self.copies, self.plan, self._found.fixes.amend)

    def forget(self) -> None:
        """Drop the journal: from now on the target belongs to the application."""
        with explained(self), self.target.connection.begin():
            journal.drop(self.target.connection)

    def ask_application(self) -> Report:
        """Have the application answer pages on both databases. Raises TuneError when it does not answer the same."""
        from kallithea_tune.migration import application, switch

        self.progress.begin("asking the application")
        with self.report.timed("application"):
            self.report.pages = application.compare(self.instance, switch.moved(self.instance, self.url))
        unlike = [page for page in self.report.pages if page.unlike]
        # Pages of a source that goes on being written to are no measure; their status is.
        if self._found.fixes.needed:
            # Rows that were mended or left out are seen, and may have been why the source fails.
            unlike = [page for page in unlike if page.statuses[1] >= SERVER_ERROR]
        elif self._from.maybe_written():
            unlike = [page for page in unlike if page.statuses[0] != page.statuses[1]]
        if unlike:
            raise TuneError("the target is whole, but the application does not answer there as it does here: %s" % (
                "; ".join(page.sentence for page in unlike)))
        return self.report

    def require_quiet_source(self) -> None:
        """Raise Refused when the source is not any more what was brought over."""
        with explained(self):
            if self._from.maybe_written():
                self._from.begin()
                self._require_mended()
                self._verify(self.tables)
                if self.report.differences:
                    raise Refused(
                        "the source was written to after the snapshot (%s); stop the application, and run the command "
                        "again with --catch-up" % self.report.first_difference)

    def _require_mended(self) -> None:
        """Raise Refused when there are rows that the target would refuse or change, and that no chosen fix mends."""
        blocking = len(self.look().blocking)
        if blocking:
            raise Refused("%s: preflight has %d %s that no chosen fix mends" % (
                self.stands, blocking, "finding" if blocking == 1 else "findings"))

    def _open_quarantine(self) -> None:
        if self._found.fixes.needed:
            whole = self.destination.state is State.whole and not self.options.replace
            self._quarantine.prepare(whole or self.destination.state is State.unfinished)
            self.report.quarantine, self.report.mended = self._quarantine.path, self._quarantine.counts

    def _fill(self) -> None:
        whole = self.target.dialect.transactional_ddl
        self._open_quarantine()
        self.destination.stage()
        with self.target.connection.begin() if whole else contextlib.nullcontext():
            kept = self._prepare()
            self._transfer(kept)
            self._finish()
            self._verify(self.tables)
            self._require_the_same("was rolled back" if whole else "was left without a revision")
            self._stamp()
        self.destination.publish()
        self.stands = "the target is whole and verified"

    def _prepare(self) -> set[str]:
        """Make way for the tables, and return the names of those that are there already, whole."""
        connection, existing = self.target.connection, target.existing_tables(self.target.connection)
        if self.options.replace and self.destination.state is not State.unfinished:
            target.drop_tables(connection, existing)
            existing = []
        entries = journal.read(connection) if existing else None
        copied = journal.named(entries or {}, journal.COPIED)
        if entries is None:
            journal.create(connection)
        kept = {table.name for table in self.tables} & set(copied) & set(existing)
        target.drop_tables(connection, sorted(set(existing) - kept - {journal.NAME}))
        if not self.target.dialect.transactional_ddl:
            self.stands = "the target holds a part, and the same command goes on with it"
        else:
            self.stands = "the target is as it was before"
        self.report.kept = tuple(sorted(kept))
        return kept

    def _transfer(self, kept: set[str]) -> None:
        pairs = [(table, copy) for table, copy in zip(self.tables, self.copies) if table.name not in kept]
        self.target.dialect.begin_load(self.target.connection)
        self.progress.begin("copying", sum(table.rows for table in self.plan.tables if table.name not in kept))
        schema.create_tables(self.target.connection, [copy for _, copy in pairs], self.target.dialect)
        with self.report.timed("copy"):
            for table, copy in pairs:
                self._copy(table, copy)
        if kept:
            tables = [table for table in self.tables if table.name in kept]
            copies = [copy for copy in self.copies if copy.name in kept]
            finish.strip(self.target, copies)
            with self._unit():
                self._bring(tables, copies, {})

    def _copy(self, table: Table, copy: Table) -> None:
        self.progress.doing = "copying %s" % table.name
        with self._unit():
            self.report.rows[table.name] = copy_table(
                self.source, self.target, table, copy, lambda number: self.progress.advance(number, table.name),
                self._quarantine.amend(self._found.fixes, table.name))
            journal.note(self.target.connection, journal.COPIED + table.name, self.report.rows[table.name])

    @contextlib.contextmanager
    def _unit(self) -> Iterator[None]:
        """Make a transaction of what is inside, unless everything is one anyway."""
        with contextlib.nullcontext() if self.target.dialect.transactional_ddl else self.target.connection.begin():
            yield

    def _bring(self, tables: Sequence[Table], copies: Sequence[Table], last_keys: Any) -> None:
        self.progress.begin("catching up", sum(table.rows for table in self.plan.tables))
        with self.report.timed("catch up"):
            self.report.changes, self.report.verified = catch_up.bring(
                self.source, self.target, tables, copies, last_keys,
                lambda name, number: self.progress.advance(number, name), self._found.fixes,
                lambda name: self._quarantine.amend(self._found.fixes, name))
        self.report.last_keys = finish.last_keys(self.source, self.tables)

    def _finish(self) -> None:
        keys = self.report.last_keys = finish.last_keys(self.source, self.tables)
        self.progress.begin("keys and indexes", len(schema.additions(self.copies, self.target.dialect)))
        with self.report.timed("keys and indexes"):
            for addition in schema.complete_tables(self.target.connection, self.copies, self.target.dialect):
                self.progress.advance(1, addition.table.name)
                self.progress.doing = addition.sentence
            self.progress.doing = "keys and indexes"
            finish.set_last_keys(self.target, self.copies, keys)
            self.target.dialect.analyze(self.target.connection, self.copies)
        with self.report.timed("proof"):
            differing = finish.differences(self.target, self.copies)
            if differing:
                raise TuneError("the target's tables are not as the models say: %s" % "; ".join(differing))
            self.report.inserts_tried = finish.try_inserts(self.target, self.copies, keys)

    def _verify(self, tables: Sequence[Table]) -> None:
        self.progress.begin("verifying", self.plan.rows)
        with self.report.timed("verify"):
            self.report.verified = list(verify.check(
                self.source.connection, self.target.connection, tables,
                lambda name, number: self.progress.advance(number, name), self._found.fixes))

    def _require_the_same(self, otherwise: str) -> None:
        if self.report.differences:
            raise TuneError("what arrived is not what the source has, so the target %s: %s" % (
                otherwise, self.report.first_difference))

    def _note_keys(self) -> None:
        for name, key in self.report.last_keys.items():
            journal.note(self.target.connection, journal.LAST_KEY + name, key)

    def _stamp(self) -> None:
        connection = self.target.connection
        with self._unit():
            self._note_keys()
        stamp = schema.stamp_table()
        if self.plan.revision:
            stamp.create(connection)
        with self._unit():
            if self.plan.revision:
                connection.execute(stamp.insert(), [{"version_num": revision} for revision in self.plan.revision])
            journal.note(connection, journal.WHOLE, time.strftime("%Y-%m-%d %H:%M:%S"))
