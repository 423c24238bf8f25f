"""Celery workers that are machines of their own, as far as namespaces make them so."""

from __future__ import annotations

import signal
from pathlib import Path

from environment import BIN
from servers.server import Server


class Worker(Server):
    """A Celery worker with host name and process ids of its own."""

    account = "root"
    stop_signal = signal.SIGKILL  # to unshare, with which all in its namespace dies

    def __init__(self, ini: Path, host: str, *words: str) -> None:
        super().__init__()
        self.ini, self.host, self.words = ini, host, words

    def command(self) -> "list[str]":
        """Return celery-run in namespaces."""
        run = [str(BIN / "kallithea-cli"), "celery-run", "-c", str(self.ini), "--", "-l", "INFO"]
        inside = f'hostname {self.host} && exec "$@"'
        return [
            *["unshare", "-m", "-u", "-p", "-f", "--mount-proc", "--kill-child"],
            *["sh", "-ec", inside, "sh", "env", f"HOME={self.directory}", *run, "-c", "1"],
            *self.words,
        ]

    def ready(self) -> bool:
        """Tell whether it waits for tasks."""
        return " ready." in self.log.read_text(errors="replace")
