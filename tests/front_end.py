"""The front-end of Kallithea, built in a copy, and a stand-in for where it is not built."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from environment import BIN
from servers.application import QUIET

from kallithea_tune.app.package import package_directory
from kallithea_tune.static_export.sources.references import referenced


def make_overlay(overlay: Path) -> Path:
    """Fill a directory with the files that the templates ask for and that are not there."""
    package = Path(package_directory())
    overlay.mkdir(exist_ok=True)
    for path in referenced(str(package), ["css", "js", "images", "codemirror", "fontello"]):
        if (package / "public" / path).exists():
            continue
        (overlay / path).parent.mkdir(parents=True, exist_ok=True)
        (overlay / path).write_text(f"/* {path} */\n" * 50)
    return overlay


def build(directory: Path) -> None:
    """Build the front-end in a copy of Kallithea below `directory`."""
    shutil.copytree(package_directory(), str(directory / "kallithea"))
    environment = {**QUIET, "PYTHONPATH": str(directory)}
    subprocess.run(
        [str(BIN / "kallithea-cli"), "front-end-build"],
        cwd=str(directory),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    # What it was built with, and takes fifty times the room.
    shutil.rmtree(str(directory / "kallithea" / "front-end" / "node_modules"))
