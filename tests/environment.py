"""Where the virtual environment that runs the tests has its programs and its distributions."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

BIN = Path(sys.executable).parent


def named(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def required(
    name: str, found: dict[str, metadata.Distribution]
) -> dict[str, metadata.Distribution]:
    """Collect what is installed of `name` and of all that it requires, without extras."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return found
    found[named(name)] = distribution
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement and named(requirement) not in found:
            required(named(requirement), found)
    return found


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Install a distribution of this environment in another's directory, by links."""
    for name in {str(file).split("/")[0] for file in distribution.files or ()} - {".."}:
        if not (site / name).exists():
            (site / name).symlink_to(str(distribution.locate_file(name)))
