"""A private Kallithea, served by gearbox as an admin would."""

from __future__ import annotations

import sys
from pathlib import Path

from servers.server import Server

BIN = Path(sys.executable).parent


class Kallithea(Server):
    """The instance of an ini file under ``gearbox serve``; its port is written into the file."""

    account = "root"  # who made the instance in the tests that run as root

    def __init__(self, ini: Path) -> None:
        super().__init__()
        self.ini = ini
        text = ini.read_text()
        old = next(line for line in text.splitlines() if line.startswith("port = "))
        ini.write_text(text.replace(old + "\n", "port = %d\n" % self.port, 1))

    def command(self) -> list[str]:
        """Return gearbox serve."""
        return ["env", "HOME=%s" % self.directory, str(BIN / "gearbox"), "serve", "-c", str(self.ini)]

    def ready(self) -> bool:
        """Tell whether it accepts requests."""
        return self.answers("/_admin/api")
