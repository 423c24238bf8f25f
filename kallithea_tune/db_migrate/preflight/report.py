"""The part of the report that describes violations, for the admin and for machines."""

from __future__ import annotations

from typing import Sequence

from kallithea_tune.db_migrate.preflight.violation import PreflightResult, Violation
from kallithea_tune.db_migrate.values import Key, Value
from kallithea_tune.text import wrapped

MOST_LINES = 8  # for one violation
LABEL_WIDTH = 13  # of the names of rules


def lines(violations: Sequence[Violation], unchecked: Sequence[str]) -> list[str]:
    """Describe the violations, each with its remedy, within 80 columns."""
    if not violations:
        return ["Preflight: the target accepts every row as it is."]
    blocking = len(PreflightResult(list(violations)).blocking)
    number = len(violations)
    outcome = f"{blocking} to be fixed first" if blocking else "all fixed while copying"
    written = [f"Preflight: {number} {'problem' if number == 1 else 'problems'}, {outcome}"]
    for violation in violations:
        written += wrapped(_label(violation.rule.name), violation.sentence, MOST_LINES)
        written += wrapped(_label(""), violation.remedy, MOST_LINES)
    for sentence in unchecked:
        written += wrapped(_label("not checked"), sentence, MOST_LINES)
    return written


def _label(name: str) -> str:
    return f"  {name:<{LABEL_WIDTH}} "


def as_json(violations: Sequence[Violation]) -> list[dict[str, object]]:
    """Return the violations as JSON can represent them."""
    return [
        {
            "rule": violation.rule.name,
            "table": violation.table,
            "columns": violation.columns,
            "what": violation.what,
            "count": violation.count,
            "keys": [_json_key(key) for key in violation.keys],
            "actions": [action.name for action in violation.actions],
            "offers": {
                action.name: {
                    "fixed": offer.fixed,
                    "elsewhere": dict(offer.elsewhere),
                    "loose": dict(offer.loose),
                    "at_least": offer.at_least,
                }
                for action, offer in violation.offers.items()
            },
            "fix": violation.fix.name if violation.fix else "",
            "left": violation.left,
            "blocking": bool(violation.left),
            "sentence": violation.sentence,
            "remedy": violation.remedy,
        }
        for violation in violations
    ]


def _json_key(key: Key) -> object:
    return list(map(_json_value, key)) if isinstance(key, tuple) else _json_value(key)


def _json_value(value: Value) -> object:
    return value if value is None or isinstance(value, (int, str)) else str(value)
