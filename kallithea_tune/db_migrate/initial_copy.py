"""The first round: an empty target, or what an earlier run left of it, made whole. The revision is
written last.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from kallithea_tune.db_migrate import finish, journal, schema, target
from kallithea_tune.db_migrate.copy import copy_table
from kallithea_tune.db_migrate.journal import State
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.job import Job


def carry_out(job: Job) -> None:
    """Do all of it; the target is whole and verified then."""
    whole = job.target.dialect.transactional_ddl
    job.open_quarantine()
    job.destination.stage()
    with job.target.connection.begin() if whole else contextlib.nullcontext():
        kept = _prepare(job)
        _transfer(job, kept)
        _finish(job)
        job.verify_tables(job.tables)
        job.require_the_same("was rolled back" if whole else "was left without a revision")
        _stamp(job)
    job.destination.publish()
    job.stands = "the target is whole and verified"


def _prepare(job: Job) -> set[str]:
    """Make way for the tables, and return the names of those that are there already, whole."""
    connection, existing = job.target.connection, target.existing_tables(job.target.connection)
    if job.options.replace and job.destination.state is not State.unfinished:
        target.drop_tables(connection, existing)
        existing = []
    entries = journal.read(connection) if existing else None
    copied = journal.named(entries or {}, journal.COPIED)
    if entries is None:
        journal.create(connection)
    kept = {table.name for table in job.tables} & set(copied) & set(existing)
    target.drop_tables(connection, sorted(set(existing) - kept - {journal.NAME}))
    if not job.target.dialect.transactional_ddl:
        job.stands = "the target holds a part, and the same command goes on with it"
    else:
        job.stands = "the target is as it was before"
    job.report.kept = tuple(sorted(kept))
    return kept


def _transfer(job: Job, kept: set[str]) -> None:
    pairs = [(table, copy) for table, copy in zip(job.tables, job.copies) if table.name not in kept]
    job.target.dialect.begin_load(job.target.connection)
    job.progress.begin(
        "copying", sum(table.rows for table in job.plan.tables if table.name not in kept)
    )
    schema.create_tables(job.target.connection, [copy for _, copy in pairs], job.target.dialect)
    with job.report.timed("copy"):
        for table, copy in pairs:
            _copy(job, table, copy)
    if kept:
        tables = [table for table in job.tables if table.name in kept]
        copies = [copy for copy in job.copies if copy.name in kept]
        finish.strip(job.target, copies)
        with job.unit():
            job.bring(tables, copies, {})


def _copy(job: Job, table: Table, copy: Table) -> None:
    job.progress.doing = f"copying {table.name}"
    with job.unit():
        job.report.rows[table.name] = copy_table(
            job.source,
            job.target,
            table,
            copy,
            lambda number: job.progress.advance(number, table.name),
            job.quarantine.amend(job.found.fixes, table.name),
        )
        journal.note(
            job.target.connection, journal.COPIED + table.name, job.report.rows[table.name]
        )


def _finish(job: Job) -> None:
    keys = job.report.last_keys = finish.last_keys(job.source, job.tables)
    job.progress.begin("keys and indexes", len(schema.additions(job.copies, job.target.dialect)))
    with job.report.timed("keys and indexes"):
        for addition in schema.complete_tables(
            job.target.connection, job.copies, job.target.dialect
        ):
            job.progress.advance(1, addition.table.name)
            job.progress.doing = addition.sentence
        job.progress.doing = "keys and indexes"
        finish.set_last_keys(job.target, job.copies, keys)
        job.target.dialect.analyze(job.target.connection, job.copies)
    with job.report.timed("proof"):
        differing = finish.differences(job.target, job.copies)
        if differing:
            raise TuneError(
                "the target's tables are not as the models say: {}".format("; ".join(differing))
            )
        job.report.inserts_tried = finish.try_inserts(job.target, job.copies, keys)


def _stamp(job: Job) -> None:
    connection = job.target.connection
    with job.unit():
        job.note_keys()
    stamp = schema.stamp_table()
    if job.plan.revision:
        stamp.create(connection)
    with job.unit():
        if job.plan.revision:
            connection.execute(
                stamp.insert(), [{"version_num": revision} for revision in job.plan.revision]
            )
        journal.note(connection, journal.WHOLE, time.strftime("%Y-%m-%d %H:%M:%S"))
