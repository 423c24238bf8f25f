"""The record of a dry run that found nothing, so that the next run need not look again.

It is a small file beside the ini file, without anything from a row. Where it cannot be written,
read or trusted, there is none, and preflight runs, as it does where anything is not as it was.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Optional

import kallithea_tune
from kallithea_tune.db_migrate.preflight.conditions import Scope
from kallithea_tune.errors import TuneError
from kallithea_tune.system import typed_json, written_path
from kallithea_tune.system.account import as_invoker
from kallithea_tune.system.written_path import Output

if TYPE_CHECKING:
    from sqlalchemy import Table

_START = b'{"dry_run": "'
OUTPUT = Output(
    "the record of the dry run",
    "one that db-migrate wrote",
    lambda head: head.startswith(_START),
    streams=False,
)


@dataclass(frozen=True)
class Circumstances:
    """All that decides what preflight finds without fixes: four things, each equal or not.

    `source` is its identity, which is empty where nothing proves that it stayed the same.
    """

    source: Mapping[str, str]
    target: Mapping[str, str]
    tables: str
    tool: str

    def difference(self, other: Circumstances) -> str:
        """Return why what was found under the `other` ones proves nothing; empty where it does."""
        if not self.source:
            return "nothing proves that the source has not been written to"
        if self.source != other.source:
            return "the source may have been written to"
        if self.tool != other.tool:
            return "db-migrate is not the same"
        if self.tables != other.tables:
            return "the tables are not the same"
        return "" if self.target == other.target else "the target is configured differently"


@dataclass(frozen=True)
class Record:
    """A dry run that found nothing: when it ran, in UTC, and under which circumstances."""

    dry_run: str
    circumstances: Circumstances

    def sentence(self, difference: str) -> str:
        """Describe to the admin what follows from it."""
        if difference:
            return (
                f"Preflight ran although the dry run of {self.dry_run} UTC found no problems: "
                f"{difference}."
            )
        return (
            f"Preflight: nothing has changed since the dry run of {self.dry_run} UTC, which found "
            "no problems."
        )


class RecordFile:
    """The file, which the user who runs the command writes and reads."""

    def __init__(self, ini: str, target: str) -> None:
        self._ini, self.path = ini, f"{ini}.preflight-{target}.json"

    @as_invoker()
    def write(self, found: Circumstances) -> None:
        """Write the record, as far as that is possible, and unless `found` can prove nothing."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
        text = json.dumps(typed_json.dump(Record(now, found))) + "\n"
        if found.source:
            with contextlib.suppress(TuneError):
                written_path.write(written_path.examine(self.path, OUTPUT), text, 0o600)

    def proves(self, circumstances: Callable[[], Circumstances]) -> tuple[bool, str]:
        """Tell whether preflight would find nothing now; with a sentence if there is a record."""
        record = self.read()
        if record is None:
            return False, ""
        difference = circumstances().difference(record.circumstances)
        return not difference, record.sentence(difference)

    @as_invoker()
    def read(self) -> Optional[Record]:
        """Return the record; None where others than root, we and the ini's owner can write it."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                status = os.fstat(handle)
                trusted = status.st_uid in (0, os.geteuid(), os.stat(self._ini).st_uid)
                if not trusted or not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022:
                    return None
                record: Record = typed_json.load(Record, json.loads(file.read().decode()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return record


def circumstances(scope: Scope, source: Mapping[str, str]) -> Circumstances:
    """Describe what there is now, with the identity of the source."""
    return Circumstances(
        source,
        scope.column_limits.configuration(),
        _digest(
            [
                (_described(scope.tables[name]), _described(copy), scope.limits(name))
                for name, copy in scope.copies.items()
            ]
        ),
        _code(),
    )


def _described(table: Table) -> object:
    """Describe columns, keys and indexes."""
    columns = [
        (column.name, repr(column.type), column.nullable, column.primary_key)
        for column in table.columns
    ]
    references = [(key.parent.name, key.target_fullname) for key in table.foreign_keys]
    uniques = [(type(key).__name__, key.columns.keys()) for key in table.constraints]
    indexes = [(bool(index.unique), index.columns.keys()) for index in table.indexes]
    return table.name, columns, sorted(references), sorted(uniques), sorted(indexes)


def _code() -> str:
    """Return a digest of the tool itself: versions under development have one number."""
    root = Path(kallithea_tune.__file__).parent
    files = sorted(root.rglob("*.py"))
    return _digest([(str(path.relative_to(root)), path.read_bytes()) for path in files])


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()
