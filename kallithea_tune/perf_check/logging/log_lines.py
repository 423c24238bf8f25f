"""Counts the lines that the application logs while it answers a request."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Mapping, Optional

from kallithea_tune.perf_check.logging.loggers import ECHO, Sections, loggers
from kallithea_tune.perf_check.measurement import Context, Examined, measurement

PAGE = "/_admin/login"
_RANKS = ("NOTSET", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class Lines:
    """Lines written, and the loggers that wrote most of them, as ``NAME COUNT``."""

    lines: int
    most: tuple[str, ...]


@dataclass(frozen=True)
class LinesPerRequest:
    """The lines of one view of a page, None where no logger is verbose and nothing was counted."""

    counted: Optional[Lines] = None

    @property
    def examined(self) -> Examined:
        """The one page, where there was a reason to request it."""
        requested = int(self.counted is not None)
        return Examined(requested, requested, "page")


@measurement(seconds=4.0, needs=("app", "database"), uses=(loggers,))
def lines_per_request(context: Context) -> LinesPerRequest:
    """Request the login page, and again with the levels of the ini file, and count lines."""
    from kallithea_tune.app.visit import Request
    from kallithea_tune.perf_check.application import visited

    found = context.measure(loggers)
    if not found.verbose:
        return LinesPerRequest()
    levels = {
        "sqlalchemy.engine" if name == ECHO else name: level
        for name, level in found.levels.items()
        if level
    }
    arguments = {"levels": levels, "handler_level": lowest_level(context.instance.sections)}
    seen = visited(
        context,
        [
            Request(PAGE),
            Request(PAGE, prepare=start, arguments=arguments),
            Request(PAGE, prepare=stop),
        ],
        max(context.deadline.left, 10.0),
    )
    return LinesPerRequest(seen.answers[2].result_of(stop))


def lowest_level(sections: Sections) -> str:
    """Return the lowest level of the handlers: what passes the most verbose of them."""
    levels = [
        section.get("level", "NOTSET").strip().upper()
        for name, section in sections.items()
        if name.startswith("handler_")
    ]
    known = [level for level in levels if level in _RANKS]
    return min(known, key=_RANKS.index, default="NOTSET")


class _Counter(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.by_logger: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        # A message of several lines, such as a statement, counts as that many.
        self.by_logger[record.name] += record.getMessage().count("\n") + 1


_counter = _Counter()


def start(levels: Mapping[str, str], handler_level: str) -> None:
    """Give the loggers these levels, and count what passes them and the most verbose handler.

    For the process of the application.
    """
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _counter.by_logger.clear()
    _counter.setLevel(handler_level)
    logging.getLogger().addHandler(_counter)


def stop() -> Lines:
    """Return the lines written since `start`; for the process of the application."""
    logging.getLogger().removeHandler(_counter)
    most = tuple(f"{name} {count}" for name, count in _counter.by_logger.most_common(3))
    return Lines(sum(_counter.by_logger.values()), most)
