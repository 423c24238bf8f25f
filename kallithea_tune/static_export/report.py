"""What static-export tells: sentences for people on stderr, or one list of rows for machines on
stdout.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Callable, Sequence

from kallithea_tune.text import WIDTH

COLUMNS = ("kind", "path", "said")


class Report:
    """Collects rows for machines while it speaks to people; everything goes through `redact`."""

    def __init__(self, redact: Callable[[str], str], quiet: bool, machine: bool) -> None:
        self._redact, self._quiet, self._machine = redact, quiet, machine
        self.rows: list[list[str]] = []

    def say(self, text: str, whole: bool = False) -> None:
        """Tell people on stderr, for standard output may be the configuration; `whole` is for
        commands to be pasted.
        """
        if not self._quiet and not self._machine:
            print(
                self._redact(text)
                if whole
                else textwrap.fill(
                    self._redact(text),
                    WIDTH,
                    subsequent_indent="  ",
                    break_long_words=False,
                    break_on_hyphens=False,
                ),
                file=sys.stderr,
            )

    def list(self, kind: str, paths: Sequence[str], said: str = "") -> None:
        """Tell of several files by their number and the first few; each is a row."""
        self.rows += [[kind, path, said] for path in paths]
        if paths:
            shown = next(
                count
                for count in (3, 2, 1)
                if count == 1 or len(", ".join(paths[:count])) < WIDTH // 2
            )
            more = ", ..." if paths[shown:] else ""
            self.say("%d %s: %s%s" % (len(paths), said or kind, ", ".join(paths[:shown]), more))

    def row(self, kind: str, path: str, said: str = "") -> None:
        """Add a row, of which people are told otherwise."""
        self.rows.append([kind, path, self._redact(said)])

    def note(self, text: str) -> None:
        """Tell what the admin should know."""
        self.row("note", "", text)
        self.say("note: " + text)

    def show(self, kind: str, path: str, text: str) -> None:
        """Print what was asked for, such as a difference, on standard output."""
        self.row(kind, path, text)
        if not self._machine:
            sys.stdout.write(self._redact(text))
