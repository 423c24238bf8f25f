"""Which instance breaks a rule, and what a matrix shows of it."""

from __future__ import annotations

import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.scaling.comparison import REQUIREMENTS, breaks, matrix
from kallithea_tune.perf_check.scaling.instances import Facts, Value

NAMES = [requirement.setting for requirement in REQUIREMENTS]
UNKNOWN = Value("", "", {}, "it hangs")


def facts(setting: str, *identities: "str | Value") -> list[Facts]:
    """Return instances that agree in all but one setting, and have addresses of their own."""
    made = []
    for number, identity in enumerate(identities):
        values = {name: Value("same", "same", {}) for name in NAMES}
        values["address"] = Value(f":{number}", f":{number}", {})
        values["host"] = Value(f"web{number}", f"web{number}", {})
        values["index-create"] = Value("", "", {})
        value = identity if isinstance(identity, Value) else Value("", identity, {})
        made.append(
            Facts(f"{number}.ini", f"uri{number}", "app:main", {**values, setting: value}, {})
        )
    return made


@pytest.mark.parametrize(
    "setting, identities, breaking, reference",
    [
        ("session.secret", "aa", [], ""),
        ("session.secret", "ab", [1], "0.ini"),
        ("session.secret", "baa", [0], "1.ini"),
        ("session.secret", "abc", [1, 2], "0.ini"),
        ("session.secret", ["a", UNKNOWN], [], ""),
        ("session.secret", [UNKNOWN, "a", "a", "b"], [3], "1.ini"),
        ("address", "aa", [1], "0.ini"),
        ("address", "aba", [2], "0.ini"),
        ("address", ["", ""], [], ""),
        ("index-create", ["", "by cron", "by cron"], [2], "1.ini"),
    ],
)
def test_the_minority_breaks_what_must_be_equal_and_the_later_what_must_differ(
    setting: str, identities: "list[str | Value]", breaking: list[int], reference: str
) -> None:
    made = facts(setting, *identities)
    found = {number: list(breaks(made, item.uri)) for number, item in enumerate(made)}
    assert [number for number, broken in found.items() if broken] == breaking
    for number in breaking:
        (broken,) = found[number]
        assert (broken.requirement.setting, broken.other) == (setting, reference)


def test_an_instance_that_is_compared_with_nobody_breaks_nothing() -> None:
    assert breaks((), "config:/srv/alone.ini") == []


def test_a_secret_is_a_letter_and_the_worst_row_comes_first() -> None:
    made = facts("session.secret", "digest-1", "digest-2", "digest-1")
    made[0].values["index_dir"] = Value("/i", "1:2", {})  # type: ignore[index]
    rows = matrix(made).rows
    assert [(row.setting, row.values, row.severity) for row in rows[:2]] == [
        ("session.secret", ("A", "B", "A"), Severity.error),
        ("index_dir", ("/i", "same", "same"), Severity.warning),
    ]
    assert "digest" not in str(rows)


def test_what_could_not_be_compared_is_not_fine() -> None:
    (row,) = [row for row in matrix(facts("repositories", "a", UNKNOWN)).rows if not row.equal][:1]
    assert (row.setting, row.values[1], row.severity) == (
        "repositories",
        "not measured",
        Severity.unknown,
    )
