"""The options ``--fix RULE=ACTION``."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

from kallithea_tune.db_migrate.preflight.actions import Action
from kallithea_tune.db_migrate.preflight.rule import Rule
from kallithea_tune.db_migrate.preflight.rules import RULES
from kallithea_tune.errors import ConfigError

# For each rule the actions chosen for it: the first that a column allows is taken.
ChosenFixes = Mapping[Rule, Sequence[Action]]


def parse_fixes(options: Sequence[str]) -> ChosenFixes:
    """Parse options ``RULE=ACTION``. Raises ConfigError, listing the valid ones, for another."""
    chosen: dict[Rule, list[Action]] = {}
    for option in options:
        rule_name, _, action_name = option.partition("=")
        rule = RULES.get(rule_name)
        if rule is None:
            raise ConfigError(
                f"--fix {option}: there is no rule '{rule_name}'; the fixes are {_listed()}"
            )
        action = next((each for each in rule.actions if each.name == action_name), None)
        if action is None:
            fixes = " or ".join(f"{rule.name}={each.name}" for each in rule.actions)
            raise ConfigError(f"--fix {option}: for {rule.name} there is {fixes}")
        chosen.setdefault(rule, []).append(action)
    return chosen


def first_possible(chosen: ChosenFixes, rule: Rule, possible: Sequence[Action]) -> Optional[Action]:
    """Return the first action chosen for a rule that is possible; None when there is none."""
    return next((action for action in chosen.get(rule, ()) if action in possible), None)


def possible_choices(
    chosen: ChosenFixes, rule: Rule, possible: Sequence[Action]
) -> Sequence[Action]:
    """Return the actions chosen for a rule that are applied to a value, one after the other.

    After one that leaves some values as they are comes the next one that was chosen.
    """
    choices: list[Action] = []
    for action in chosen.get(rule, ()):
        if action in possible and (not choices or choices[-1].partial):
            choices.append(action)
    return choices


def _listed() -> str:
    """List all fixes: ``dates=null|epoch|delete, nul=strip|...``."""
    return ", ".join(
        "{}={}".format(rule.name, "|".join(action.name for action in rule.actions))
        for rule in RULES.values()
    )
