"""The worked examples of CONTRIBUTING.rst, carried out as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from environment import BIN

import kallithea_tune

PACKAGE = Path(kallithea_tune.__file__).parent
TEXT = (PACKAGE.parent / "CONTRIBUTING.rst").read_text(encoding="utf-8")


def example(language: str, heading: str) -> str:
    """Return the first code block of a language below a heading."""
    section = TEXT[TEXT.index(heading) :]
    match = re.search(rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", section)
    assert match
    return textwrap.dedent(match[1])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package, to add to."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(PACKAGE), str(tmp_path / "kallithea_tune"), ignore=ignored)
    return tmp_path


def gearbox(source: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / "gearbox"), *map(str, words)],
        cwd=str(source),
        env=dict(os.environ, PYTHONPATH=str(source)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def test_a_check_is_added_as_described(source: Path) -> None:
    ini = source / "my.ini"
    ini.write_text("[app:main]\nuse = egg:kallithea\n")
    area = source / "kallithea_tune" / "perf_check" / "storage"
    (area / "readme_checks.py").write_text(example("python", "How to add a check"))
    page = example("rst", "How to add a check")
    (area / "STO099.rst").write_text(page)
    words = ["perf-check", "-c", ini, "--only", "STO099", "--fail-on", "advice"]
    before = gearbox(source, *words)
    assert before.returncode == 1, before.stderr
    assert "STO099 advice: there is no README" in before.stdout
    (source / "README").touch()
    assert gearbox(source, *words).returncode == 0
    explained = gearbox(source, "perf-check", "--explain", "STO099").stdout
    assert explained.startswith(page.rstrip())
