"""Counts the SQL statements of the loaded application."""

from __future__ import annotations

import time


class StatementCounter:
    """Counts and times the statements of SQLAlchemy engines in this process, without fetching."""

    def __init__(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self.count, self.ms, self._began = 0, 0.0, 0.0
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)

    def _before(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _after(self, *_: object) -> None:
        self.count += 1
        self.ms += (time.perf_counter() - self._began) * 1000
