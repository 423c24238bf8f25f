"""Rows as they were in the source that a fix changed or left out: one JSON object on each line.

A line is on the disk before its row is copied. It is read again by `json.loads`; what JSON cannot
represent is an object with one entry: ``{"base64": ...}`` for binary data, ``{"text-base64": ...}``
for text that is not valid UTF-8, and ``{"float": "inf"}``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from typing import TYPE_CHECKING, Callable, Optional, Sequence

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.preflight.fixes import Fixes, Outcome, TableFixes
from kallithea_tune.db_migrate.target import PART
from kallithea_tune.db_migrate.values import Row, Value
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.system import atomic, written_path
from kallithea_tune.system.written_path import Output

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.target import Target

CHANGED, LEFT_OUT = "changed", "left out"
_START = re.compile(rb'\{"table": "(?:[^"\\]|\\.)*", "key": \{')


def _is_ours(line: bytes) -> bool:
    """Whether a line begins as ours do, or may be the rest of one that was not finished."""
    first = b'{"table": "'
    unfinished = not line.endswith(b"\n") and first.startswith(line[: len(first)])
    return bool(_START.match(line)) or unfinished


OUTPUT = Output(
    "the quarantine file",
    "one that db-migrate wrote",
    lambda head: bool(_START.match(head)),
    streams=False,
)


class Quarantine:
    """The file at `path`, created before the first row and readable only by its owner.

    `counts` has for each table how many rows were ``changed`` and ``left out`` in this run.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.counts: dict[str, dict[str, int]] = {}
        self._handle: Optional[int] = None
        self._created = ""
        self._written: set[bytes] = set()

    def amend(self, fixes: Fixes, table: str) -> Optional[Callable[[Sequence[Row]], Sequence[Row]]]:
        """Return what changes and leaves out rows of `table`; None where there is nothing to do."""
        if not fixes.touches(table):
            return None
        table_fixes = fixes.tables[table]

        def amended(rows: Sequence[Row]) -> Sequence[Row]:
            outcomes = [table_fixes.apply(row) for row in rows]
            lines = []
            for row, outcome in zip(rows, outcomes):
                if outcome.fixes:
                    self._count(table, _became(outcome))
                    lines.append(self._line(table, table_fixes, row, outcome))
            self._append(lines)
            return [outcome.row for outcome in outcomes if outcome.row is not None]

        return amended

    def keep(self, fixes: Fixes, table: str, row: Row) -> None:
        """Write a row that fixes change or leave out, unless an earlier run wrote it.

        The row is in the order of the table's columns.
        """
        table_fixes = fixes.tables[table]
        outcome = table_fixes.apply(row)
        line = self._line(table, table_fixes, row, outcome)
        if _digest(line) not in self._written:
            self._count(table, _became(outcome))
            self._append([line])
            self._written.add(_digest(line))

    def prepare(self, resume: bool) -> None:
        """Open the file before anything depends on it.

        With `resume` that of an earlier run is continued, otherwise it is renamed. Raises
        ConfigError when it cannot be written, and as `examine` when something else is there by now.
        """
        try:
            place = written_path.examine(self.path, OUTPUT)
            if place.file and not resume and os.path.getsize(place.path):
                os.rename(place.path, _reserved_name(place.path))
                place = written_path.examine(self.path, OUTPUT)
            self._created = "" if place.file else place.path
            self._handle = written_path.open_file(place)
            self._read_written()
            os.fchmod(self._handle, 0o600)
            atomic.sync_directory(os.path.dirname(place.path))
        except OSError as error:
            raise ConfigError(
                f"the quarantine file {self.path} cannot be written: {error.strerror}"
            ) from None

    def close(self) -> None:
        """Close the file, and remove it when it is empty and ours."""
        if self._handle is not None:
            if self._created and not os.fstat(self._handle).st_size:
                os.unlink(self._created)
            os.close(self._handle)
            self._handle = None

    def _read_written(self) -> None:
        """Read what an earlier run wrote, to write nothing twice, and remove an unfinished line."""
        assert self._handle is not None
        end = 0
        with open(self._handle, "rb", closefd=False) as file:
            for line in file:
                if not _is_ours(line):
                    raise Refused(
                        f"{OUTPUT.option} {self.path} has a line at byte {end} that "
                        "db-migrate did not write; give another path"
                    )
                if line.endswith(b"\n"):
                    end += len(line)
                    self._written.add(_digest(line))
        if end < os.fstat(self._handle).st_size:
            os.ftruncate(self._handle, end)

    def _count(self, table: str, became: str) -> None:
        counts = self.counts.setdefault(table, {CHANGED: 0, LEFT_OUT: 0})
        counts[became] += 1

    def _line(self, table: str, fixes: TableFixes, row: Row, outcome: Outcome) -> bytes:
        key = {fixes.columns[place]: _json_value(row[place]) for place in fixes.key_places}
        entry = {
            "table": table,
            "key": key,
            "fixes": [fix.name for fix in outcome.fixes],
            "became": _became(outcome),
            "row": {name: _json_value(value) for name, value in zip(fixes.columns, row)},
        }
        return json.dumps(entry).encode() + b"\n"

    def _append(self, lines: Sequence[bytes]) -> None:
        new = b"".join(
            line for line in lines if not self._written or _digest(line) not in self._written
        )
        if not new:
            return
        assert self._handle is not None, "prepare() comes first"
        while new:
            new = new[os.write(self._handle, new) :]
        os.fsync(self._handle)


def usual_path(ini: str, target: Engine) -> str:
    """Return the path of the file beside the ini file, where the admin gave none."""
    return f"{ini}.quarantine-{named_after(target)}.jsonl"


def named_after(target: Engine) -> str:
    """Return what tells files for one target from those for another one."""
    url = target.connection.engine.url
    name = re.sub(r"[^\w.]+", "-", os.path.basename(str(url.database or "")))
    return f"{url.get_backend_name()}-{name}"


def require_usable(path: str, instance: Instance, target: Target) -> None:
    """Raise as `written_path.examine` where `path` is no place for the file.

    That is also the ini file, or the SQLite file of the source or the target.
    """
    databases = {"the source": sqlite_file(instance.database_url), "the target": target.path}
    others = {
        f"{name} (as {os.path.basename(database) + suffix})": database + suffix
        for name, database in databases.items()
        for suffix in ("", "-journal", "-wal", "-shm", PART)
        if database
    }
    written_path.examine(path, OUTPUT, {"the ini file": instance.path, **others})


def _became(outcome: Outcome) -> str:
    return LEFT_OUT if outcome.row is None else CHANGED


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def _json_value(value: Value) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, str) and not values.is_utf8(value):
        return {"text-base64": base64.b64encode(values.utf8(value)).decode()}
    return value


def _reserved_name(path: str) -> str:
    """Create an empty file of an unused name for the one at `path` to be renamed to."""
    number = 1
    while True:
        name = f"{path}.{number}"
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return name
        except FileExistsError:
            number += 1
