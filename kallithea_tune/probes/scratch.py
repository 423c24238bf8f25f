"""A directory for measuring in: inside the one that is measured, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import Iterator

from kallithea_tune.errors import NotMeasured

PREFIX = ".kallithea-tune-"


@contextlib.contextmanager
def scratch(directory: str) -> Iterator[str]:
    """Make a temporary directory in `directory` and remove it whatever happens, Ctrl-C included.

    Raises NotMeasured when nothing can be written there.
    """
    try:
        made = tempfile.mkdtemp(prefix=PREFIX, dir=directory)
    except OSError as error:
        raise NotMeasured("%s: %s" % (directory, error.strerror)) from None
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if os.path.lexists(made):
            # A killed child may have been creating a file while the tree was removed.
            shutil.rmtree(made, ignore_errors=True)
