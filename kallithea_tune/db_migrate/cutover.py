"""The steps after the copy: the application answers as before, and the ini file is changed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Optional

from kallithea_tune.db.interruptible import transaction
from kallithea_tune.db_migrate import journal, switch
from kallithea_tune.db_migrate.driver_errors import IfStopped, translated
from kallithea_tune.db_migrate.result import MigrationResult, Step
from kallithea_tune.errors import Refused
from kallithea_tune.system import interruption
from kallithea_tune.system.account import as_invoker
from kallithea_tune.system.lock_file import locked

if TYPE_CHECKING:
    from kallithea_tune.config.inifile import Edit
    from kallithea_tune.db_migrate.migration import Migration
    from kallithea_tune.db_migrate.verify.application import Applications


class Cutover:
    """What remains to be done when the rows of a migration are in the target."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        self._applications: Optional[Applications] = None
        self._ini = contextlib.ExitStack()  # open and locked

    def end(self) -> None:
        """End the processes in which the application is visited, and unlock the ini file."""
        self._ini.close()
        self.forget_source()

    def forget_source(self) -> None:
        """Forget the answers of the source, such as when it was written to since."""
        if self._applications:
            self._applications.close()
            self._applications = None

    def visit_source_early(self) -> None:
        """Start requesting the source's pages for `compare_pages`, to go on during `catch_up`."""
        from kallithea_tune.db_migrate.verify import application

        with translated(self._migration):
            self._migration.renew_snapshot()
            self._load(application.STOPPED_SECONDS).visit_source()

    def _load(self, journal_seconds: float) -> Applications:
        from kallithea_tune.db_migrate.verify.application import Applications

        instance = self._migration.instance
        on_target = switch.on_target(instance, self._migration.url)
        self._applications = Applications(instance, on_target, journal_seconds)
        return self._applications

    def compare_pages(self) -> MigrationResult:
        """Have the application answer pages on both databases; raise TuneError where they differ.

        Of a source that is being written to, or whose rows were fixed, only statuses are compared.
        """
        from kallithea_tune.db_migrate.verify import application

        migration = self._migration
        migration.progress.begin("comparing pages")
        with translated(migration), migration.result.timed(Step.PAGES):
            applications = self._applications or self._load(application.JOURNAL_SECONDS)
            migration.result.pages = applications.compare()
            self.forget_source()
        rows_fixed = migration.preflight.fixes.needed
        written = not rows_fixed and migration.source.maybe_written()
        application.require_alike(migration.result.pages, rows_fixed, written)
        return migration.result

    def require_unchanged_source(self) -> None:
        """Raise Refused when the source is no longer what was copied."""
        migration = self._migration
        with translated(migration):
            if migration.source.maybe_written():
                migration.source.take_snapshot()
                migration.require_no_problems()
                migration.verify_tables()
                if migration.result.differences:
                    raise Refused(
                        "the source was written to after the snapshot "
                        f"({migration.result.first_difference}); stop the application, and run the "
                        "command again with --catch-up"
                    )

    def reserve(self) -> None:
        """Keep other switches from the ini file until `end`.

        What a killed one left beside it is removed. Raises Refused where another one is on its way,
        and what `plan_switch` raises.
        """
        edit = self.plan_switch()
        if not as_invoker()(self._lock)(edit.path):
            raise Refused(f"another db-migrate is about to change {edit.path}")
        as_invoker()(switch.remove_leftovers)(self._migration.instance)

    def _lock(self, path: str) -> bool:
        handle = os.open(path, os.O_RDONLY)
        self._ini.callback(os.close, handle)
        return locked(handle)

    def plan_switch(self) -> Edit:
        """Return the edit that makes the ini file point at the target.

        Raises Refused or ConfigError where that is impossible.
        """
        return switch.plan(self._migration.instance, self._migration.url)

    def switch(self, edit: Edit) -> str:
        """Write the edit, drop the journal, and return the path of the backup of the ini file.

        From then on the target belongs to the application. Raises TuneError, with the old file
        restored, when the edit has no effect.
        """
        migration = self._migration
        connection, atomic = migration.target.endpoint.connection, migration.target.atomic
        with translated(migration), contextlib.ExitStack() as undisturbed, transaction(connection):
            if atomic:
                # It may have to wait for a lock, which must not be after the ini file has changed.
                journal.drop(connection)
            interruption.check()
            undisturbed.enter_context(interruption.deferred())
            backup = as_invoker()(switch.apply)(edit, migration.instance, migration.url)
            migration.if_stopped = IfStopped.SWITCHED
            if not atomic:
                journal.drop(connection)
        return backup
