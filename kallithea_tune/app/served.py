"""Has the application that a child has loaded answer over HTTP, on a port of this machine only."""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import dataclass
from typing import Any

from kallithea_tune.app import inside
from kallithea_tune.errors import NotMeasured


@dataclass(frozen=True)
class Served:
    """Where the application answers, and the process that it runs in."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """The URL of its root."""
        return f"http://127.0.0.1:{self.port}"


class _Here:
    """The server of this process; waitress has no types."""

    server: Any = None


_here = _Here()


def serve_here() -> Served:
    """Serve what `inside.load_here` has loaded with waitress, which Kallithea itself requires.

    It has one thread, see `threads_here`. Raises NotMeasured without waitress.
    """
    try:
        waitress: Any = importlib.import_module("waitress")
    except ImportError:
        raise NotMeasured("waitress is not installed, which Kallithea requires") from None
    # Nobody reads what the application prints while it serves; a full pipe would stop it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _here.server = waitress.create_server(
        inside.application_here(), host="127.0.0.1", port=0, threads=1, ident=None
    )
    threading.Thread(target=_here.server.run, daemon=True).start()
    return Served(int(_here.server.effective_port), os.getpid())


def threads_here(count: int) -> int:
    """Have the server of `serve_here` use `count` threads from now on; return that."""
    _here.server.task_dispatcher.set_thread_count(count)
    return count
