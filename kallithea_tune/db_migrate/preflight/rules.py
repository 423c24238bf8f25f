"""The rules of preflight: what each finds, and what can be done about a row on its way, if the
admin says so.

Names and actions are those of ``--fix``; docs/db-migrate-preflight.rst has a section for each rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from kallithea_tune.errors import ConfigError

NULL, DELETE = "null", "delete"


@dataclass(frozen=True)
class Rule:
    """One kind of thing that a target refuses or changes; `actions` are the fixes, the gentlest
    first.
    """

    name: str
    title: str
    actions: tuple[str, ...]


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("nulls", "no value where there must be one", ("empty", DELETE)),
        Rule("wrong-type", "a value of another type than the column's", (NULL, DELETE)),
        Rule("booleans", "a number other than 0 and 1 as yes or no", ("true", NULL, DELETE)),
        Rule("out-of-range", "an integer beyond what the column holds", (NULL, DELETE)),
        Rule("not-finite", "infinity, or what is not a number", (NULL, DELETE)),
        Rule("dates", "not a date as the application writes it", (NULL, "epoch", DELETE)),
        Rule("microseconds", "fractions of a second that the column would lose", ("cut",)),
        Rule("utf8", "text that is not valid UTF-8", ("replace", NULL, DELETE)),
        Rule("nul", "text with the character NUL", ("strip", NULL, DELETE)),
        Rule(
            "four-byte",
            "characters that take four bytes, emoji among them",
            ("replace", NULL, DELETE),
        ),
        Rule("too-long", "more than the column holds", ("truncate", NULL, DELETE)),
        Rule("too-big", "a row that the server takes in no packet", (DELETE,)),
        Rule("orphans", "a reference to a row that is not there", (NULL, DELETE)),
        Rule("duplicates", "a key that another row has already", ("keep-first",)),
        Rule("collisions", "keys that are the same one to the target", ("keep-first",)),
    )
}

# For each rule the actions chosen for it: the first that a column allows is taken.
Chosen = Mapping[str, Sequence[str]]


def chosen(words: Sequence[str]) -> Chosen:
    """Read ``RULE=ACTION`` words. Raises ConfigError, listing what there is, for one that is
    unknown.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        name, _, action = word.partition("=")
        if name not in RULES:
            raise ConfigError(
                f"--fix {word}: there is no rule '{name}'; the fixes are {listed(RULES)}"
            )
        if action not in RULES[name].actions:
            raise ConfigError(
                "--fix {}: for {} there is {}".format(
                    word, name, " or ".join(f"{name}={each}" for each in RULES[name].actions)
                )
            )
        found.setdefault(name, []).append(action)
    return found


def listed(rules: Mapping[str, Rule]) -> str:
    """List all fixes: ``dates=null|epoch|delete, nul=strip|...``."""
    return ", ".join("{}={}".format(rule.name, "|".join(rule.actions)) for rule in rules.values())
