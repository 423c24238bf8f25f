"""A measurement is taken once, costs once, and says what it uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check import runner
from kallithea_tune.perf_check.budget import costs_of
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined, measurement
from kallithea_tune.perf_check.model import Finding, Severity, check


@dataclass(frozen=True)
class Bears:
    count: int

    @property
    def examined(self) -> Examined:
        return Examined(self.count, 4, "bear")


taken: list[str] = []


@measurement(seconds=2.0, writes="cache_dir", needs=("database",))
def bears(context: Context) -> Bears:
    taken.append("bears")
    return Bears(3)


@measurement(seconds=1.0, needs=("app",), uses=(bears,))
def twice(context: Context) -> Bears:
    taken.append("twice")
    return Bears(2 * context.measure(bears).count)


@measurement(uses=())
def undeclared(context: Context) -> Bears:
    return context.measure(bears)


@measurement()
def blind(context: Context) -> Bears:
    taken.append("blind")
    raise NotMeasured("it hides")


@check(
    "TOY001", "toy-both", "Both", "toys", measures=(bears, twice), threshold="5", source="judgement"
)
def both(one: Bears, other: Bears) -> Iterator[Finding]:
    yield Finding(Severity.ok, f"{one.count} and {other.count} bears")
    yield Finding(Severity.ok, "another", threshold="6")


@check("TOY002", "toy-one", "One", "toys", measures=(bears,))
def one(seen: Bears) -> Iterator[Finding]:
    yield Finding(Severity.ok, f"{seen.count} bears")


@check("TOY003", "toy-blind", "Blind", "toys", measures=(blind,))
def sees_nothing(seen: Bears) -> Iterator[Finding]:
    yield Finding(Severity.ok, "never")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    taken.clear()
    ini = tmp_path / "my.ini"
    ini.write_text("[app:main]\nuse = egg:nothing\n")
    return Context(load(str(ini)), Deadline(30))


def test_cost_order_and_needs_follow_from_the_measurements() -> None:
    assert both.measurements == (bears, twice)
    assert (both.seconds, both.writes, both.needs) == (3.0, "cache_dir", {"ini", "database", "app"})
    assert (sees_nothing.seconds, sees_nothing.writes, sees_nothing.probes) == (0, "", False)


def test_what_is_shared_is_taken_once_and_paid_for_once(context: Context) -> None:
    report = runner.run(context.instance, [both, one], 30)
    rest = "not measured: 1 of 4 bears was not examined"
    assert [found.diagnosis for found in report.findings] == [
        *(rest, rest),
        *("3 and 6 bears", "another", "3 bears"),
    ]
    assert taken == ["bears", "twice"]
    assert costs_of([one, both]) == [2.0, 1.0]


def test_a_finding_gets_the_threshold_of_its_check_unless_it_has_its_own(context: Context) -> None:
    findings = list(both.findings(context))
    assert [(found.threshold, found.source) for found in findings] == [
        ("5", "judgement"),
        ("6", "judgement"),
        # Of what was not examined.
        ("", ""),
    ]


def test_a_failure_is_the_same_for_all_and_not_tried_again(context: Context) -> None:
    for _ in range(2):
        with pytest.raises(NotMeasured, match="it hides"):
            context.measure(blind)
    assert taken == ["blind"]
    (found,) = runner.run(context.instance, [sees_nothing], 9).findings
    assert (found.severity, found.diagnosis) == (Severity.unknown, "not measured: it hides")


def test_a_use_that_is_not_declared_is_a_mistake(context: Context) -> None:
    with pytest.raises(TypeError, match="undeclared does not declare that it uses bears"):
        context.measure(undeclared)


def test_a_result_says_how_much_was_examined(context: Context) -> None:
    assert not context.measure(bears).examined.complete
    assert Examined(4, 4, "bear").complete
