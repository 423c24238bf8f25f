"""Preflight in a second process, over the snapshot that is being copied at the same time.

It goes on to compute the source's fingerprints, which are compared with those of the target.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional, Union

from kallithea_tune.db.interruptible import UNANSWERED
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.verify import ahead
from kallithea_tune.db_migrate.verify.ahead import Fingerprinted
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.system.forked import Forked

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.source import Source
    from kallithea_tune.db_migrate.target import Target


class ProblemsFound(Refused):
    """Preflight has found problems, so that what was copied must be undone."""


class Preflighted(NamedTuple):
    """The end of preflight: whether it found problems, and how many seconds it took."""

    problems: bool
    seconds: float


class Beside:
    """The second process; `preflighted` is its first result, which may be `proven` already."""

    def __init__(self, transfer: Transfer, proven: bool) -> None:
        self._transfer, self._proven = transfer, proven
        self._results: Forked[Union[Preflighted, Fingerprinted]] = Forked(self._work)
        self.preflighted: Optional[Preflighted] = None

    def _work(self) -> Iterator[Union[Preflighted, Fingerprinted]]:
        began, used = time.perf_counter(), self._transfer
        problems = not self._proven and bool(Preflight.of(used).run({}).violations)
        yield Preflighted(problems, time.perf_counter() - began)
        yield from ahead.fingerprints(used.source, used.tables)

    def check(self) -> None:
        """Raise ProblemsFound when preflight has ended with problems by now."""
        if self.preflighted or self._results.has_next:
            self.require_no_problems()

    def require_no_problems(self) -> Preflighted:
        """Wait for the end of preflight; raise ProblemsFound when there are problems."""
        if self.preflighted is None:
            first = next(self._results)
            assert isinstance(first, Preflighted)
            self.preflighted = first
        if self.preflighted.problems:
            raise ProblemsFound("preflight found problems that no --fix covers")
        return self.preflighted

    @contextlib.contextmanager
    def problems_first(self) -> Iterator[None]:
        """Raise ProblemsFound in place of what a row raises inside that preflight finds as well."""
        try:
            yield
        except Exception:
            try:
                self.require_no_problems()
            except Exception as first:
                # What was raised inside is not its cause.
                first.__context__ = None
                raise
            raise

    def fingerprints(self) -> Iterator[Fingerprinted]:
        """Yield the fingerprints of the source, after preflight."""
        self.require_no_problems()
        for item in self._results:
            assert isinstance(item, Fingerprinted)
            yield item

    def end(self) -> None:
        """End the process, and what its connections are executing."""
        if self._results.kill():
            for engine in (self._transfer.source, self._transfer.target):
                cancelling = threading.Thread(target=engine.cancel.request, daemon=True)
                cancelling.start()
                # A server that stands still does not answer.
                cancelling.join(UNANSWERED)


@contextlib.contextmanager
def begun(
    source: Source, target: Target, transfer: Transfer, proven: bool
) -> Iterator[Optional[Beside]]:
    """Begin the second process, with connections of its own; None where there can be none.

    Where the result of preflight is `proven`, it only computes fingerprints.
    """
    with contextlib.ExitStack() as opened:
        engines: list[Engine] = []
        with contextlib.suppress(ConfigError):
            for database in (source, target):
                engine = database.another_connection()
                if engine is not None:
                    opened.callback(_leave, engine)
                    engines.append(engine)
        if len(engines) < 2:
            yield None
            return
        beside = Beside(replace(transfer, source=engines[0], target=engines[1]), proven)
        opened.callback(beside.end)
        yield beside


def _leave(engine: Engine) -> None:
    """Close a connection that another process has used, without a word to the server."""
    engine.connection.invalidate()
    engine.connection.close()
