"""Requests what the release lacks: Kallithea must answer, as a repository may have that path."""

from __future__ import annotations

import re
import secrets
from typing import Iterator

from kallithea_tune.static_export.verify.client import Answer
from kallithea_tune.static_export.verify.finding import Finding, Problem
from kallithea_tune.static_export.verify.target import Target

_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>")


def verify_fall_through(target: Target) -> Iterator[Finding]:
    """Request a path without a file below each exported directory, and compare with elsewhere."""
    elsewhere = target.client.get(f"{target.nowhere}/{secrets.token_hex(8)}")
    expected = signature(elsewhere, target.nowhere)
    for directory in target.directories:
        place = f"/{directory}{target.nowhere}"
        answer = target.client.get(f"{place}/{secrets.token_hex(8)}")
        if signature(answer, place) != expected:
            message = (
                f"what is not exported does not reach Kallithea: {answer.outcome}, and "
                f"{elsewhere.outcome} elsewhere, with different pages; a repository group "
                f"'{directory}' could not be used"
            )
            yield Problem(place, "identity", message)


def signature(answer: Answer, place: str) -> tuple[object, ...]:
    """Return what tells Kallithea's page about a missing path from a web server's. Pure."""
    title = _TITLE.search(answer.text)
    location = answer.headers.get("location", "").replace(place, "")
    return (
        answer.status,
        answer.headers.get("content-type", ""),
        title[1].replace(place, "").strip() if title else "",
        re.sub(r"[0-9a-f]{16}", "", location),
    )
