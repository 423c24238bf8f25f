"""Repositories to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def repos(pristine: Path, tmp_path: Path) -> Path:
    """A directory with copies of the repositories of the real instance, for one test to spoil."""
    shutil.copytree(str(pristine / "repos"), str(tmp_path / "repos"), symlinks=True)
    return tmp_path / "repos"
