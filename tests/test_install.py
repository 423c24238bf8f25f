"""``pip install kallithea-tune`` where only Kallithea is installed moves none of its versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

OURS = "kallithea-tune"


def named(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def required(name: str, found: dict[str, metadata.Distribution]) -> dict[str, metadata.Distribution]:
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


def test_pip_moves_no_version_of_a_kallithea(tmp_path: Path) -> None:
    kallithea = {**required("kallithea", {}), **required("setuptools", {})}
    venv.create(str(tmp_path / "venv"), symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for distribution in kallithea.values():
        top = {str(file).split("/")[0] for file in distribution.files or ()} - {".."}
        for name in top:
            if not (site / name).exists():
                (site / name).symlink_to(str(distribution.locate_file(name)))
    wanted = [line.split(";")[0] for line in metadata.requires(OURS) or () if "extra ==" not in line]
    assert {"cliff", "psutil"} <= set(map(named, wanted)) - set(kallithea)
    result = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv" / "bin" / "python"), "install", "--dry-run",
         "--quiet", "--disable-pip-version-check", "--report", str(tmp_path / "report.json"), *wanted],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    added = {named(item["metadata"]["name"]): item["metadata"]["version"] for item in report["install"]}
    assert "cliff" in added, "pip was not asked about an environment without our requirements"
    moved = {name: (kallithea[name].version, version) for name, version in added.items() if name in kallithea}
    assert not moved
