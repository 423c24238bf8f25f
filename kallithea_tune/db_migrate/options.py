"""What can be chosen for a migration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Options:
    """The choices; each field has the meaning of the command's option of the same name."""

    extra_tables: bool = False
    leave: Sequence[str] = ()
    replace: bool = False
    fixes: Sequence[str] = ()
    quarantine: str = ""
