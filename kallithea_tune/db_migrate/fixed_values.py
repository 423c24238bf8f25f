"""What a fix makes of one value: pure functions of the value and of what the target's column
holds.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from kallithea_tune.db_migrate.preflight.limits import ALL_DIGITS, Limits, octets, repaired
from kallithea_tune.db_migrate.values import Kind

REPLACEMENT = "\ufffd"
EPOCH: Mapping[Kind, str] = {Kind.moment: "1970-01-01 00:00:00.000000", Kind.date: "1970-01-01"}
EMPTY: Mapping[Kind, Any] = {
    **EPOCH,
    Kind.time: "00:00:00.000000",
    Kind.integer: 0,
    Kind.boolean: 0,
    Kind.number: 0.0,
    Kind.text: "",
    Kind.binary: b"",
}


def mended(rule: str, action: str, value: Any, limits: Limits) -> Any:
    """Return what `action` makes of a `value` that breaks `rule`."""
    if rule == "four-byte" and action == "replace":
        return "".join(letter if letter <= "\uffff" else REPLACEMENT for letter in value)
    return _ACTIONS[action](value, limits)


def _truncated(text: str, limits: Limits) -> str:
    text = text[: limits.characters]
    if limits.octets is not None and octets(text) > limits.octets:
        # A character that is cut in the middle is left out.
        text = text.encode("utf-8", "surrogateescape")[: limits.octets].decode("utf-8", "ignore")
    return text


def _cut(value: str, limits: Limits) -> str:
    whole, _, fraction = value.partition(".")
    return "{}.{}".format(whole, fraction[: limits.digits].ljust(ALL_DIGITS, "0"))


_ACTIONS: Mapping[str, Callable[[Any, Limits], Any]] = {
    "null": lambda value, limits: None,
    "empty": lambda value, limits: EMPTY[limits.kind],
    "epoch": lambda value, limits: EPOCH[limits.kind],
    "true": lambda value, limits: 1,
    "strip": lambda value, limits: value.replace("\0", ""),
    "replace": lambda value, limits: repaired(value),
    "truncate": _truncated,
    "cut": _cut,
}
