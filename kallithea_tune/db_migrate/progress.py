"""How far a migration is: bars on a terminal, a line for each step elsewhere, nothing where nobody
watches.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from typing import Any, Optional, Protocol, TextIO

from kallithea_tune.text import WIDTH

EVERY = 0.1  # seconds between two pictures of a terminal


class Progress(Protocol):
    """Told what is under way; `total` is the number of rows or steps, 0 where unknown."""

    def begin(self, step: str, total: int) -> None:
        """Begin a step."""

    def advance(self, number: int, what: str = "", of: int = 0) -> None:
        """Say that `number` more are done, of the table `what`, which has `of` rows."""

    def end(self) -> None:
        """Clear away what is not to stay on the screen."""


class Silence:
    """Progress that nobody watches."""

    def begin(self, step: str, total: int) -> None:
        """Do nothing."""

    def advance(self, number: int, what: str = "", of: int = 0) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class Lines(Silence):
    """Plain lines, one for each step: for cron and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, step: str, total: int) -> None:
        """Print the step."""
        print(f"{step} ...", file=self._stream, flush=True)


class Line:
    """One line of a terminal, written over again: step, table, rows per second, time left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step, self._total, self._done, self._begun, self._shown = "", 0, 0, 0.0, 0.0

    def begin(self, step: str, total: int) -> None:
        """Begin a new line of the same place."""
        self._step, self._total, self._done, self._begun, self._shown = (
            step,
            total,
            0,
            time.monotonic(),
            0.0,
        )
        self._show("")

    def advance(self, number: int, what: str = "", of: int = 0) -> None:
        """Show how far it is, ten times a second at most."""
        self._done += number
        if time.monotonic() - self._shown > EVERY:
            self._show(what)

    def end(self) -> None:
        """Clear the line."""
        self._write("")

    def _show(self, what: str) -> None:
        self._shown = time.monotonic()
        taken = self._shown - self._begun
        parts = [self._step, what]
        if self._total and self._done:
            left = max(0, self._total - self._done) * taken / self._done
            parts += [
                "%d %%" % ((100 * self._done // self._total,)),
                f"{self._done / max(taken, 0.001):,.0f}/s",
                "%d:%02d left" % divmod(round(left), 60),
            ]
        self._write("  ".join(filter(None, parts)))

    def _write(self, text: str) -> None:
        self._stream.write("\r\033[K" + text[: WIDTH - 1])
        self._stream.flush()


class Bars:
    """Two bars drawn by tqdm: the whole step, and below it the table that is under way."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm

        self._make = tqdm
        self._stream = stream
        self._whole: Any = None
        self._part: Any = None
        self._what = ""

    def begin(self, step: str, total: int) -> None:
        """Draw a new bar for the step."""
        self.end()
        self._whole = self._bar(step, total, 0)

    def advance(self, number: int, what: str = "", of: int = 0) -> None:
        """Move the bars on."""
        if what != self._what:
            self._close_part()
            self._what = what
            self._part = self._bar("  " + what, of, 1) if of else None
        for bar in (self._part, self._whole):
            if bar is not None:
                bar.update(number)

    def end(self) -> None:
        """Remove the bars."""
        self._close_part()
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.close()
        self._part, self._what = None, ""

    def _bar(self, name: str, total: int, position: int) -> Any:
        size = shutil.get_terminal_size()
        return self._make(
            total=total or None,
            desc="%-22s" % name[:22],
            file=self._stream,
            position=position,
            leave=False,
            unit="",
            unit_scale=True,
            ncols=min(WIDTH, size.columns),
            nrows=size.lines,
            mininterval=EVERY,
        )


def shown_on(stream: TextIO, quiet: bool = False) -> Progress:
    """Return what suits the stream."""
    if quiet:
        return Silence()
    if not stream.isatty():
        return Lines(stream)
    return Bars(stream) if importlib.util.find_spec("tqdm") else Line(stream)


class Watched:
    """Progress that knows the number of rows of each table, and what is under way, for the sentence
    of an error.
    """

    def __init__(self, progress: Optional[Progress]) -> None:
        self._progress = progress or Silence()
        self.rows: dict[str, int] = {}
        self.doing = "connecting"

    def begin(self, step: str, total: int = 0) -> None:
        """Begin a step."""
        self.doing = step
        self._progress.begin(step, total)

    def advance(self, number: int, what: str = "") -> None:
        """Say that `number` more are done, of the table `what`."""
        self._progress.advance(number, what, self.rows.get(what, 0))

    def end(self) -> None:
        """Say that nothing is under way any more."""
        self._progress.end()
