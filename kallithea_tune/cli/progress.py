"""One line on a terminal that shows the step under way."""

from __future__ import annotations

import contextlib
import sys
from typing import Iterator

from kallithea_tune.text import WIDTH, printable


class Progress:
    """Shows the step under way; silent unless stderr is a terminal."""

    def __init__(self, enabled: bool) -> None:
        self._shown = enabled and sys.stderr.isatty()

    def __call__(self, title: str, done: int, total: int) -> None:
        """Show `title` as the step after `done` of `total`; without a title, clear the line."""
        if self._shown:
            text = printable(f"[{done}/{total}] {title}") if title else ""
            sys.stderr.write("\r\033[K" + text[: WIDTH - 1])
            sys.stderr.flush()


@contextlib.contextmanager
def progress_line(enabled: bool) -> Iterator[Progress]:
    """Show progress inside, and leave the line empty, whatever happens."""
    progress = Progress(enabled)
    try:
        yield progress
    finally:
        progress("", 0, 0)
