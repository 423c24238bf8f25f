"""Preflight as the admin reads it, and as machines do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Sequence

from kallithea_tune.text import wrapped

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.preflight.finding import Finding

LINES = 6  # at most, for one finding


def text(findings: Sequence[Finding], unseen: Sequence[str]) -> str:
    """Write what was found, each with its remedy, within 80 columns."""
    if not findings:
        return "Preflight: the target takes every row as it is."
    blocking = sum(bool(finding.left) for finding in findings)
    lines = [
        "Preflight: %d %s, %s"
        % (
            len(findings),
            "finding" if len(findings) == 1 else "findings",
            "all mended on the way" if not blocking else "%d to be mended first" % blocking,
        )
    ]
    for finding in findings:
        lines += wrapped("  %-13s " % finding.rule, finding.sentence, LINES)
        lines += wrapped(" " * 16, finding.remedy, LINES)
    for sentence in unseen:
        lines += wrapped("  %-13s " % "not seen", sentence, LINES)
    return "\n".join(lines)


def plain(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return what was found as JSON can hold it."""
    return [
        {
            **dataclasses.asdict(finding),
            "keys": [_plain_key(key) for key in finding.keys],
            "blocking": bool(finding.left),
            "sentence": finding.sentence,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]


def _plain_key(key: Any) -> Any:
    if isinstance(key, (list, tuple)):
        return [_plain_key(item) for item in key]
    return key if key is None or isinstance(key, (int, str)) else str(key)
