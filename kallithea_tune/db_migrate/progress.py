"""Shows how far a migration is: bars on a terminal, one line per step elsewhere, or nothing."""

from __future__ import annotations

import importlib.util
import shutil
import time
from typing import Callable, Optional, Protocol, TextIO

from kallithea_tune.system import interruption
from kallithea_tune.text import WIDTH, printable

INTERVAL = 0.1  # seconds between two updates of a terminal
STEP_WIDTH = 24  # columns for the name of the step before a bar


class Progress(Protocol):
    """Receives the progress of a migration."""

    def begin(self, step: str, total: int) -> None:
        """Begin a step of `total` rows or actions; 0 where that is unknown."""

    def advance(self, count: int, table: str = "", table_rows: int = 0) -> None:
        """Report that `count` more are done, of `table`, which has `table_rows` rows."""

    def end(self) -> None:
        """Remove from the screen what should not stay there."""


class NoProgress:
    """Shows nothing."""

    def begin(self, step: str, total: int) -> None:
        """Do nothing."""

    def advance(self, count: int, table: str = "", table_rows: int = 0) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class StepLines(NoProgress):
    """Prints one plain line per step, for cron and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, step: str, total: int) -> None:
        """Print the step."""
        print(printable(step), "...", file=self._stream, flush=True)


class StatusLine:
    """One line of a terminal, overwritten in place: step, table, rows per second, time left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step, self._total, self._done = "", 0, 0
        self._started, self._updated = 0.0, 0.0

    def begin(self, step: str, total: int) -> None:
        """Show the step in place of the previous one."""
        self._step, self._total, self._done = step, total, 0
        self._started = time.monotonic()
        self._show("")

    def advance(self, count: int, table: str = "", table_rows: int = 0) -> None:
        """Update the line, at most ten times a second."""
        self._done += count
        if time.monotonic() - self._updated > INTERVAL:
            self._show(table)

    def end(self) -> None:
        """Clear the line."""
        self._write("")

    def _show(self, table: str) -> None:
        self._updated = time.monotonic()
        elapsed = self._updated - self._started
        parts = [self._step, table]
        if self._total and self._done:
            seconds_left = max(0, self._total - self._done) * elapsed / self._done
            minutes, seconds = divmod(round(seconds_left), 60)
            parts += [
                f"{100 * self._done // self._total} %",
                f"{self._done / max(elapsed, 0.001):,.0f}/s",
                f"{minutes}:{seconds:02} left",
            ]
        self._write("  ".join(filter(None, parts)))

    def _write(self, text: str) -> None:
        self._stream.write("\r\033[K" + printable(text)[: WIDTH - 1])
        self._stream.flush()


class _Bar(Protocol):
    """What is used of tqdm's class."""

    def update(self, n: float) -> object:
        """Advance the bar."""

    def close(self) -> None:
        """Remove the bar."""


class ProgressBars:
    """Two bars drawn by tqdm: the entire step, and below it the current table."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm

        self._tqdm: Callable[..., _Bar] = tqdm
        self._stream = stream
        self._step_bar: Optional[_Bar] = None
        self._table_bar: Optional[_Bar] = None
        self._table = ""

    def begin(self, step: str, total: int) -> None:
        """Draw a new bar for the step."""
        self.end()
        self._step_bar = self._bar(step, total, 0)

    def advance(self, count: int, table: str = "", table_rows: int = 0) -> None:
        """Advance both bars."""
        if table != self._table:
            self._close_table_bar()
            self._table = table
            self._table_bar = self._bar("  " + table, table_rows, 1) if table_rows else None
        for bar in (self._table_bar, self._step_bar):
            if bar is not None:
                bar.update(count)

    def end(self) -> None:
        """Remove the bars."""
        self._close_table_bar()
        if self._step_bar is not None:
            self._step_bar.close()
            self._step_bar = None

    def _close_table_bar(self) -> None:
        if self._table_bar is not None:
            self._table_bar.close()
        self._table_bar, self._table = None, ""

    def _bar(self, title: str, total: int, position: int) -> _Bar:
        size = shutil.get_terminal_size()
        return self._tqdm(
            total=total or None,
            desc=printable(title)[:STEP_WIDTH].ljust(STEP_WIDTH),
            bar_format=None if total else f"{printable(title)} ...",
            file=self._stream,
            position=position,
            leave=False,
            unit="",
            unit_scale=True,
            ncols=min(WIDTH, size.columns),
            nrows=size.lines,
            mininterval=INTERVAL,
        )


def for_stream(stream: TextIO, quiet: bool = False) -> Progress:
    """Return the kind of progress that suits the stream; without tqdm the bars become one line."""
    if quiet:
        return NoProgress()
    if not stream.isatty():
        return StepLines(stream)
    return ProgressBars(stream) if importlib.util.find_spec("tqdm") else StatusLine(stream)


class ProgressTracker:
    """Passes progress on, adding the size of each table, and remembers the current step."""

    def __init__(self, progress: Optional[Progress]) -> None:
        self._progress = progress or NoProgress()
        self.table_rows: dict[str, int] = {}
        self.current_step = "connecting"

    def begin(self, step: str, total: int = 0) -> None:
        """Begin a step, unless the end was requested."""
        interruption.check()
        self.current_step = step
        self._progress.begin(step, total)

    def advance(self, count: int, table: str = "") -> None:
        """Report that `count` more are done, of `table`, unless the end was requested."""
        interruption.check()
        self._progress.advance(count, table, self.table_rows.get(table, 0))

    def end(self) -> None:
        """Report that no step is under way."""
        self._progress.end()
