"""Edits an ini file as its owner would: planned as a value, shown as a diff, comments kept.

The file is replaced atomically, and the one before is kept beside it.
"""

from __future__ import annotations

import configparser
import contextlib
import difflib
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterator, Mapping, Optional, Sequence

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.system import atomic, written_path
from kallithea_tune.system.written_path import Output

if TYPE_CHECKING:
    from configupdater import ConfigUpdater

# It is the admin's own, and of any content: an edit keeps all of it but the lines that it is for.
OUTPUT = Output("the ini file", "", lambda head: True, streams=False)
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
    """Return an edit of `path` that changes nothing.

    Raises ConfigError or Refused for a file that cannot be read, or written later.
    """
    path = written_path.examine(path, OUTPUT).path
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} cannot be read: it is not text in UTF-8") from None
    return Edit(path, text, text)


def plan(path: str, section: str, options: Mapping[str, str]) -> Edit:
    """Return the edit of `path` that sets `options` in ``[section]``; new ones go below ``use``.

    Values are written literally: a ``%`` must be doubled. Raises as `unchanged`, and ConfigError
    when the file has no such section.
    """
    edit = unchanged(path)
    if not _parsed(edit).has_section(section):
        keys = ", ".join(options)
        raise ConfigError(f"{edit.path} has no section [{section}] for {keys}")
    return also(edit, section, options)


def also(edit: Edit, section: str, options: Mapping[str, Optional[str]]) -> Edit:
    """Return `edit` with `options` set in ``[section]``, too, which is added where missing.

    Those without a value are removed.
    """
    updater = _parsed(edit)
    if not updater.has_section(section):
        updater.append("\n" if updater.sections() else "").add_section(section)
    for key, value in options.items():
        if value is None:
            updater.remove_option(section, key)
            continue
        indented = value.replace("\n", "\n    ")
        if key not in updater[section] and "use" in updater[section]:
            updater[section]["use"].add_after.option(key, indented)
        else:
            updater.set(section, key, indented)
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


@contextlib.contextmanager
def candidate(edit: Edit) -> Iterator[str]:
    """Write the new text to a file beside the old one, with the same access; yield its path.

    What it refers to is relative to its directory. It is removed at the end, and one that a killed
    run left is replaced. Raises ConfigError where it cannot be written.
    """
    parent, name = os.path.split(edit.path)
    path = os.path.join(parent, f".{name}.candidate")
    try:
        atomic.replace(path, edit.after, like=name)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def write(edit: Edit) -> str:
    """Write the edit, keeping owner and access; return the path of the backup made beside the file.

    Raises Refused when the file changed since it was planned, and ConfigError when it cannot be
    written. Killed at any moment, it leaves the complete old file or the complete new one.
    """
    try:
        with open(edit.path, "rb") as file:
            if file.read() != edit.before.encode():
                raise Refused(
                    f"{edit.path} was changed by another process meanwhile; run the command again"
                )
        place = written_path.examine(edit.path, OUTPUT)
        backup = atomic.backup(edit.path)
        written_path.write(place, edit.after)
    except OSError as error:
        raise ConfigError(f"{edit.path} cannot be written: {error.strerror}") from None
    return backup
