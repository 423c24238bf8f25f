"""Servers and workers that are machines of their own, as far as namespaces make them so."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Optional

from environment import BIN
from servers.application import Kallithea
from servers.pair import url
from servers.server import Server
from servers.visitor import Visitor


def apart(host: str, words: "list[str]") -> "list[str]":
    """Return a command in namespaces with a host name: no process of other machines exists there,
    and all of them die with it.
    """
    inside = f'hostname {host} && exec "$@"'
    return [
        *["unshare", "-m", "-u", "-p", "-f", "--mount-proc", "--kill-child"],
        *["sh", "-ec", inside, "sh", *words],
    ]


class Machine(Kallithea):
    """Kallithea of an ini file on a machine with an address of its own."""

    stop_signal = signal.SIGKILL  # to unshare, with which all in its namespace dies

    def __init__(self, ini: Path, package: Optional[Path], number: int) -> None:
        super().__init__(ini, package)
        self.host, self.address = f"web{number}", f"127.0.0.1{number}"

    def command(self) -> "list[str]":
        """Return gearbox serve in namespaces."""
        return apart(self.host, super().command())

    def ready(self) -> bool:
        """Tell whether it listens at its own address, and has served a page."""
        try:
            Visitor(url(self)).get("/")
        except OSError:
            return False
        return True


class Worker(Server):
    """A Celery worker with host name and process ids of its own."""

    account = "root"
    stop_signal = signal.SIGKILL  # to unshare, with which all in its namespace dies

    def __init__(self, ini: Path, host: str, *words: str) -> None:
        super().__init__()
        self.ini, self.host, self.words = ini, host, words

    def command(self) -> "list[str]":
        """Return celery-run in namespaces, with one process."""
        run = [str(BIN / "kallithea-cli"), "celery-run", "-c", str(self.ini), "--", "-l", "INFO"]
        words = ["env", f"HOME={self.directory}", *run, "-c", "1", *self.words]
        return apart(self.host, words)

    def ready(self) -> bool:
        """Tell whether it waits for tasks."""
        return " ready." in self.log.read_text(errors="replace")
