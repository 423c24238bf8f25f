"""What a program shows on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import Any, Sequence


def on_terminal(command: Sequence[object], **options: Any) -> tuple[int, str, bytes]:
    """Run a command with a terminal as stderr; return its status, what it drew there, and its
    standard output.
    """
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [str(word) for word in command], stderr=follower, stdout=subprocess.PIPE, **options
    )
    os.close(follower)
    drawn = b""
    while True:
        try:
            data = os.read(leader, 4096)
        except OSError:
            # Linux says so when the last one who wrote has closed it.
            break
        if not data:
            break
        drawn += data
    os.close(leader)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, drawn.decode(), printed
