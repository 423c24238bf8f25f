"""A private Kallithea, served by gearbox as an admin would."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Optional

from environment import BIN
from servers.server import Server

# As static-export advises.
TRUST = "trusted_proxy = 127.0.0.1\ntrusted_proxy_headers = x-forwarded-for x-forwarded-proto\n"
QUIET = dict(
    os.environ,
    HGRCPATH="",
    HGUSER="a",
    GIT_CONFIG_GLOBAL=os.devnull,
    GIT_CONFIG_SYSTEM=os.devnull,
    GIT_TERMINAL_PROMPT="0",
    GIT_AUTHOR_NAME="a",
    GIT_AUTHOR_EMAIL="a@example.com",
    GIT_COMMITTER_NAME="a",
    GIT_COMMITTER_EMAIL="a@example.com",
    PATH="{}{}{}".format(BIN, os.pathsep, os.environ["PATH"]),
)


def run(*words: Any, cwd: Any, **options: Any) -> str:
    """Run a program without its user's settings; show what it said when it fails."""
    result = subprocess.run(
        [str(word) for word in words],
        cwd=str(cwd),
        env=QUIET,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
        **options,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def instance_for_traffic(pristine: Path, directory: Path, prefix: str) -> Path:
    """Copy the instance: its files are left to the web server, and it has a branch that could be
    pulled.
    """
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    connection = sqlite3.connect(str(directory / "kallithea.db"))
    connection.execute(
        "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(directory / "repos")]
    )
    # Faces come from elsewhere.
    connection.execute(
        "UPDATE settings SET app_settings_value = 'False' WHERE app_settings_name = 'use_gravatar'"
    )
    connection.commit()
    connection.close()
    ini = directory / "my.ini"
    text = ini.read_text().replace("static_files = true", "serve_static = false")
    text = text.replace("[server:main]\n", "[server:main]\n" + TRUST)
    if prefix:
        text = text.replace("#filter-with", "filter-with").replace(
            "#[filter:proxy-prefix]", "[filter:proxy-prefix]"
        )
        text = text.replace("#use = egg:PasteDeploy#prefix", "use = egg:PasteDeploy#prefix")
        text = text.replace(
            "#prefix = /<your-prefix>", f"prefix = {prefix}\ntranslate_forwarded_server = false"
        )
    ini.write_text(text)
    repository = directory / "repos" / "hg-one"
    run(BIN / "hg", "update", "-q", "-C", "default", cwd=repository)
    run(BIN / "hg", "branch", "-q", "feature", cwd=repository)
    (repository / "feature.py").write_text("feature = True\n")
    run(BIN / "hg", "commit", "-A", "-q", "-m", "A feature", cwd=repository)
    return ini


class Kallithea(Server):
    """The instance of an ini file under ``gearbox serve``; its port is written into the file."""

    account = "root"  # who made the instance in the tests that run as root
    address = "127.0.0.1"

    def __init__(self, ini: Path, package: Optional[Path] = None) -> None:
        super().__init__()
        if package:
            # Another copy of Kallithea than the installed one, such as one with its front-end
            # built.
            paths = [str(package), os.environ.get("PYTHONPATH", "")]
            self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self.ini = ini
        text = ini.read_text()
        old = next(line for line in text.splitlines() if line.startswith("port = "))
        ini.write_text(text.replace(old + "\n", "port = %d\n" % self.port, 1))

    def command(self) -> list[str]:
        """Return gearbox serve."""
        return ["env", f"HOME={self.directory}", str(BIN / "gearbox"), "serve", "-c", str(self.ini)]

    def ready(self) -> bool:
        """Tell whether it accepts requests."""
        return self.answers("/_admin/api")
