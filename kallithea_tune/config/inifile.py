"""Edits an ini file as its owner would: planned as a value, shown as a diff, comments kept.

The file is replaced atomically, and the one before is kept beside it.
"""

from __future__ import annotations

import configparser
import contextlib
import difflib
import os
import re
import shutil
import stat
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Mapping, Sequence

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.system import atomic

if TYPE_CHECKING:
    from configupdater import ConfigUpdater

_HEADING = re.compile(r"\[[^\]\n]+\]")


@dataclass(frozen=True)
class Edit:
    """The text of an ini file before and after a change."""

    path: str
    before: str
    after: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return self.before == self.after

    @property
    def diff(self) -> str:
        """The changed lines, each below its section, as a unified diff without neighbouring lines.

        What stands beside a change is nobody's business; the lines themselves may be secret, so
        redact them.
        """
        before, after = self.before.splitlines(), self.after.splitlines()
        lines = list(difflib.unified_diff(before, after, self.path, self.path, n=0, lineterm=""))
        for number, line in enumerate(lines):
            if line.startswith("@@") and not _HEADING.match(lines[number + 1][1:]):
                lines[number] = f"{line} {_section_above(line, before)}".rstrip()
        return "".join(f"{line}\n" for line in lines)

    @property
    def _line_end(self) -> str:
        return "\r\n" if "\r\n" in self.before else "\n"


def _section_above(hunk: str, lines: Sequence[str]) -> str:
    """Return the last heading above the ``@@ -12,2 +12,3 @@`` of a change of `lines`."""
    start, _, count = hunk.split()[1].lstrip("-").partition(",")
    # Without removed lines, the number is that of the line before.
    above = lines[: int(start) - (count != "0")]
    headings = [line for line in above if _HEADING.match(line)]
    return headings[-1].strip() if headings else ""


def unchanged(path: str) -> Edit:
    """Return an edit of `path` that changes nothing. Raises ConfigError for an unreadable file."""
    path = os.path.realpath(path)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return Edit(path, text, text)


def plan(path: str, section: str, options: Mapping[str, str]) -> Edit:
    """Return the edit of `path` that sets `options` in ``[section]``; new ones go below ``use``.

    Values are written literally: a ``%`` must be doubled. Raises ConfigError when the file cannot
    be read or has no such section.
    """
    edit = unchanged(path)
    if not _parsed(edit).has_section(section):
        keys = ", ".join(options)
        raise ConfigError(f"{edit.path} has no section [{section}] for {keys}")
    return also(edit, section, options)


def also(edit: Edit, section: str, options: Mapping[str, str]) -> Edit:
    """Return `edit` with `options` set in ``[section]``, too, which is added where missing."""
    updater = _parsed(edit)
    if not updater.has_section(section):
        updater.append("\n" if updater.sections() else "").add_section(section)
    for key, value in options.items():
        if key not in updater[section] and "use" in updater[section]:
            updater[section]["use"].add_after.option(key, value)
        else:
            updater.set(section, key, value)
    return replace(edit, after=str(updater).replace("\n", edit._line_end))


def _parsed(edit: Edit) -> ConfigUpdater:
    from configupdater import ConfigUpdater

    updater = ConfigUpdater()
    updater.optionxform = str
    try:
        updater.read_string(edit.after.replace(edit._line_end, "\n"))
    except configparser.Error as error:
        raise ConfigError(f"{edit.path} cannot be parsed: {str(error).splitlines()[0]}") from None
    return updater


def write(edit: Edit) -> str:
    """Write the edit, keeping mode and owner; return the path of the backup made beside the file.

    Raises Refused when the file changed since it was planned, and ConfigError when it cannot be
    written. Killed at any moment, it leaves the complete old file or the complete new one.
    """
    try:
        with open(edit.path, encoding="utf-8", newline="") as file:
            if file.read() != edit.before:
                raise Refused(
                    f"{edit.path} was changed by someone else meanwhile; run the command again"
                )
        backup = _backup(edit.path)
        atomic.replace(edit.path, edit.after, lambda handle: _copy_access(edit.path, handle))
    except OSError as error:
        raise ConfigError(f"{edit.path} cannot be written: {error.strerror}") from None
    return backup


def _backup(path: str) -> str:
    """Copy the file to an unused name, with the same access rights."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        backup = f"{path}.{stamp}" + (f"-{number}" if number else "")
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with open(handle, "wb") as target, open(path, "rb") as source:
            shutil.copyfileobj(source, target)
            _copy_access(path, target.fileno())
            os.fsync(target.fileno())
        return backup
    raise Refused(f"{path} has a thousand backups of this second; run the command again")


def _copy_access(path: str, handle: int) -> None:
    """Give an open file the mode and owner of `path`; only root may, and need, give files away."""
    status = os.stat(path)
    if os.geteuid() == 0 or status.st_gid != os.getegid():
        with contextlib.suppress(PermissionError):
            os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))
