"""What the tests of security share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from owned import Owned


@pytest.fixture
def owned(pristine: Path) -> Iterator[Owned]:
    """A copy of the real instance where all may enter, unlike pytest's own directories."""
    with tempfile.TemporaryDirectory(prefix="owned-") as place:
        Path(place).chmod(0o755)
        yield Owned(pristine, Path(place))
