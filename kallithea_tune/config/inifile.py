"""Edits an ini file as its owner would: planned as a value, shown as a diff, comments kept, written
atomically.
"""

from __future__ import annotations

import configparser
import contextlib
import difflib
import os
import shutil
import stat
import time
from dataclasses import dataclass
from typing import Any, Mapping

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.system import atomic


@dataclass(frozen=True)
class Edit:
    """An ini file as it is and as it would be."""

    path: str
    before: str
    after: str

    @property
    def nothing(self) -> bool:
        """Whether the file says already what it should."""
        return self.before == self.after

    @property
    def diff(self) -> str:
        """The change as a unified diff with one line of context. It may hold secrets of the file:
        redact it.
        """
        lines = difflib.unified_diff(
            self.before.splitlines(True), self.after.splitlines(True), self.path, self.path, n=1
        )
        return "".join(lines)


def unchanged(path: str) -> Edit:
    """Return an edit of `path` that changes nothing yet. Raises ConfigError when the file cannot be
    read.
    """
    path = os.path.realpath(path)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            before = file.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return Edit(path, before, before)


def plan(path: str, section: str, options: Mapping[str, str]) -> Edit:
    """Say how `path` would read with `options` in ``[section]``; new ones are put below the
    section's ``use``.

    Values are written as they are: a literal ``%`` must come doubled. Raises ConfigError when the
    file cannot be read or has no such section.
    """
    edit = unchanged(path)
    updater = _parsed(edit)
    if not updater.has_section(section):
        raise ConfigError(
            "{} has no section [{}] to write {} into".format(edit.path, section, ", ".join(options))
        )
    return also(edit, section, options)


def also(edit: Edit, section: str, options: Mapping[str, str]) -> Edit:
    """Say how the file would read after `edit` and with `options` in ``[section]``, which is made
    where missing.
    """
    updater = _parsed(edit)
    if not updater.has_section(section):
        updater.append("\n" if updater.sections() else "").add_section(section)
    for key, value in options.items():
        if key not in updater[section] and "use" in updater[section]:
            updater[section]["use"].add_after.option(key, value)
        else:
            updater.set(section, key, value)
    return Edit(edit.path, edit.before, str(updater).replace("\n", _line_end(edit)))


def _parsed(edit: Edit) -> Any:
    from configupdater import ConfigUpdater

    updater = ConfigUpdater()
    updater.optionxform = str
    try:
        updater.read_string(edit.after.replace(_line_end(edit), "\n"))
    except configparser.Error as error:
        raise ConfigError(f"{edit.path} cannot be parsed: {str(error).splitlines()[0]}") from None
    return updater


def _line_end(edit: Edit) -> str:
    return "\r\n" if "\r\n" in edit.before else "\n"


def carry_out(edit: Edit) -> str:
    """Write the edit, keeping mode and owner, and return the path of the backup made beside the
    file.

    Raises Refused when the file changed since it was planned, and ConfigError when it cannot be
    written. Killed at any instant, the file is the old or the new one whole.
    """
    try:
        with open(edit.path, encoding="utf-8", newline="") as file:
            if file.read() != edit.before:
                raise Refused(
                    f"{edit.path} was changed by someone else meanwhile; run the command again"
                )
        backup = _backup(edit.path)
        atomic.replace(edit.path, edit.after, lambda handle: _like(handle, edit.path))
    except OSError as error:
        raise ConfigError(f"{edit.path} cannot be written: {error.strerror}") from None
    return backup


def _backup(path: str) -> str:
    """Copy the file to a name that is free, readable by no more people than the file is."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        backup = "{}.{}{}".format(path, stamp, "-%d" % number if number else "")
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with open(handle, "wb") as target, open(path, "rb") as source:
            shutil.copyfileobj(source, target)
            _like(target.fileno(), path)
            os.fsync(target.fileno())
        return backup
    raise Refused(f"{path} has a thousand backups of this second; run the command again")


def _like(handle: int, path: str) -> None:
    """Give an open file the owner and mode of `path`; only root may give files away, and need not
    otherwise.
    """
    status = os.stat(path)
    if os.geteuid() == 0 or status.st_gid != os.getegid():
        with contextlib.suppress(PermissionError):
            os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))
