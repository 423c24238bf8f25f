"""The files that perf-check writes beside its report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, TextIO

from kallithea_tune.cli.base import reader_may_leave
from kallithea_tune.text import printable, wrapped

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.perf_check.results import Results
    from kallithea_tune.system.written_path import Place


@dataclass(frozen=True)
class Files:
    """Where they go: each place was examined before anything is measured."""

    saved: Optional[Place]
    metrics: Optional[Place]
    page: Optional[Place]
    history: str

    def write(self, results: Results, stream: Optional[TextIO]) -> None:
        """Write them all; what is to be said of them goes to `stream`, without one to stderr."""
        from kallithea_tune.perf_check import history, saved_run
        from kallithea_tune.perf_check.formats import html, prometheus

        if self.saved:
            saved_run.save(results, self.saved)
        if self.history:
            kept = history.keep(results, self.history)
            if stream:
                with reader_may_leave():
                    print(f"Kept as {printable(kept)}", file=stream)
        if self.page:
            trends = history.read(self.history) if self.history else None
            html.write(results, self.page, trends)
            for note in trends.notes if trends else ():
                with reader_may_leave():
                    print(*wrapped("Note: ", note, 4), sep="\n", file=stream or sys.stderr)
        if self.metrics:
            prometheus.write(results, self.metrics)


def examined(args: Any, instance: Instance) -> Files:
    """Return where the options say. Raises ConfigError and Refused for what is not written to."""
    from kallithea_tune.perf_check import history, saved_run
    from kallithea_tune.perf_check.formats import html, prometheus

    return Files(
        saved_run.place(args.save, instance) if args.save else None,
        prometheus.place(args.prometheus, instance) if args.prometheus else None,
        html.place(args.html, instance) if args.html else None,
        "" if args.history is None else history.place(args.history),
    )
