"""``pip install kallithea-tune`` where only Kallithea is installed moves none of its versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from environment import link, named, required

OURS = "kallithea-tune"
CONSTRAINTS = (
    Path(__file__).resolve().parents[1] / "constraints" / "kallithea-0.7.0-newer-python.txt"
)


def required_with(extras: "tuple[str, ...]") -> list[str]:
    """What pip is asked for by ``kallithea-tune[extras]``."""
    wanted = []
    for line in metadata.requires(OURS) or ():
        requirement, _, marker = line.partition(";")
        if "extra" not in marker or any(
            re.search(rf"['\"]{extra}['\"]", marker) for extra in extras
        ):
            wanted.append(requirement.strip())
    return wanted


def documented() -> set[str]:
    """The packages that the guide says come with ours on this Python."""
    guide = (Path(__file__).resolve().parents[1] / "docs" / "guide.rst").read_text()
    text = guide[guide.index("It uses ``cliff``") : guide.index("No other package is installed")]
    everywhere, older, oldest = re.split(r"on Python 3\.8 and 3\.9|on 3\.8", text)
    said = everywhere
    if sys.version_info < (3, 10):
        said += older
    if sys.version_info < (3, 9):
        said += oldest
    return set(map(named, re.findall(r"``([\w-]+)``", said)))


def versions_of_kallithea() -> dict[str, str]:
    """The versions that an installation of Kallithea for this Python has before ours: its set, or
    what it pins.
    """
    if sys.version_info < (3, 10):
        return {}
    # Those with a marker are for other Pythons.
    lines = re.findall(r"(?m)^([\w.-]+)==([\w.]+)$", CONSTRAINTS.read_text())
    return {named(name): version for name, version in lines}


def test_ours_has_moved_nothing_where_the_tests_run() -> None:
    exact = versions_of_kallithea()
    if exact:
        assert {name: metadata.version(name) for name in exact} == exact
        return
    from pip._vendor.packaging.requirements import Requirement

    wanted = [
        Requirement(line) for line in metadata.requires("kallithea") or () if "extra ==" not in line
    ]
    assert len(wanted) > 20
    assert [
        str(one) for one in wanted if not one.specifier.contains(metadata.version(one.name))
    ] == []


@pytest.mark.parametrize("extras", [(), ("postgresql", "mysql", "compress", "progress")])
@pytest.mark.slow
def test_pip_moves_no_version_of_a_kallithea(tmp_path: Path, extras: "tuple[str, ...]") -> None:
    kallithea = {**required("kallithea", {}), **required("setuptools", {})}
    venv.create(str(tmp_path / "venv"), symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for distribution in kallithea.values():
        link(distribution, site)
    wanted = required_with(extras)
    assert {"cliff", "psutil"} <= set(map(named, wanted)) - set(kallithea)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(tmp_path / "venv" / "bin" / "python"),
            "install",
            "--dry-run",
            "--quiet",
            "--disable-pip-version-check",
            "--report",
            str(tmp_path / "report.json"),
            *wanted,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    added = {
        named(item["metadata"]["name"]): item["metadata"]["version"] for item in report["install"]
    }
    assert "cliff" in added, "pip was not asked about an environment without our requirements"
    assert extras or set(added) == documented() - set(kallithea)
    assert not extras or {"psycopg2-binary", "mysqlclient", "brotli"} <= set(added)
    moved = {
        name: (kallithea[name].version, version)
        for name, version in added.items()
        if name in kallithea
    }
    assert not moved
