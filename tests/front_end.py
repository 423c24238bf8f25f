"""The front-end of Kallithea, for where it is not built."""

from __future__ import annotations

from pathlib import Path

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
