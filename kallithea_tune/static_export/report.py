"""What static-export prints: sentences for people on stderr, or rows for machines on stdout."""

from __future__ import annotations

import sys
import textwrap
from typing import Callable, NamedTuple, Sequence

from kallithea_tune.text import WIDTH, printable

COLUMNS = ("kind", "path", "said")


class Row(NamedTuple):
    """One line for machines, in the order of `COLUMNS`."""

    kind: str
    path: str
    message: str = ""


class Report:
    """Collects rows for machines and prints sentences for people; both go through `redact`."""

    def __init__(self, redact: Callable[[str], str], quiet: bool, machine: bool) -> None:
        self._redact, self._quiet, self._machine = redact, quiet, machine
        self.rows: list[Row] = []

    def say(self, text: str) -> None:
        """Print a sentence for people on stderr: stdout may be the configuration."""
        self._print(
            textwrap.fill(
                printable(self._redact(text)),
                WIDTH,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )

    def command(self, text: str) -> None:
        """Print what is to be pasted into a shell, in one line."""
        self._print(printable(self._redact(text)))

    def _print(self, text: str) -> None:
        if not self._quiet and not self._machine:
            print(text, file=sys.stderr)

    def paths(self, kind: str, paths: Sequence[str], message: str = "") -> None:
        """Print the number of `paths` and the first of them; each is a row."""
        for path in paths:
            self.row(kind, path, message)
        if paths:
            shown = next(
                count
                for count in (3, 2, 1)
                if count == 1 or len(", ".join(paths[:count])) < WIDTH // 2
            )
            more = ", ..." if paths[shown:] else ""
            first = ", ".join(paths[:shown])
            self.say(f"{len(paths)} {message or kind}: {first}{more}")

    def row(self, kind: str, path: str, message: str = "") -> None:
        """Add a row only."""
        self.rows.append(Row(kind, path, self._redact(message)))

    def note(self, text: str) -> None:
        """Print what the admin should know."""
        self.row("note", "", text)
        self.say("note: " + text)

    def output(self, kind: str, path: str, text: str) -> None:
        """Print a result, such as a diff, on standard output."""
        self.row(kind, path, text)
        if not self._machine:
            sys.stdout.write(printable(self._redact(text), lines=True))
