"""What a verification found: problems, and what nobody could see or try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True)
class Problem:
    """What is wrong with the response for one URL path, in one content coding."""

    path: str
    coding: str
    message: str


@dataclass(frozen=True)
class Note:
    """What the admin should know, such as what was not tried; it is no problem."""

    text: str


Finding = Union[Problem, Note]
