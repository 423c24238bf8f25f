"""Where the virtual environment that runs the tests has its programs."""

from __future__ import annotations

import sys
from pathlib import Path

BIN = Path(sys.executable).parent
