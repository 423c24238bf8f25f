"""Counts, inside the application's process, the lines that its loggers would write."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Mapping


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.by_logger: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        # A message of several lines, such as a statement, takes as many.
        self.by_logger[record.name] += record.getMessage().count("\n") + 1


_lines = _Lines()


def start(levels: Mapping[str, str], handler_level: str) -> None:
    """Give the loggers the `levels` of the ini file and count what passes them and the most
    talkative handler.
    """
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _lines.by_logger.clear()
    _lines.setLevel(handler_level)
    logging.getLogger().addHandler(_lines)


def stop() -> dict[str, Any]:
    """Return how many lines were written since `start`, and by which loggers most."""
    logging.getLogger().removeHandler(_lines)
    top = ["%s %d" % item for item in _lines.by_logger.most_common(3)]
    return {"lines": sum(_lines.by_logger.values()), "most": top}
