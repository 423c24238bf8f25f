"""Counts the SQL statements of the loaded application."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Optional

from kallithea_tune.db.interruptible import Canceller

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


class StatementCounter:
    """Counts and times the statements of SQLAlchemy engines in this process, without fetching."""

    def __init__(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self.count, self.ms, self._began = 0, 0.0, 0.0
        self._last: Optional[Connection] = None
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)

    def cancel(self) -> None:
        """Make the statement fail that is being executed; for another thread."""
        if self._last is not None:
            Canceller(self._last)()

    def _before(self, connection: Connection, *_: object) -> None:
        self._last = connection
        self._began = time.perf_counter()

    def _after(self, *_: object) -> None:
        self.count += 1
        self.ms += (time.perf_counter() - self._began) * 1000
