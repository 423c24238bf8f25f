"""Selecting, sharing the time out, ranking and ignoring; a check may do what it likes."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check import measurement, runner
from kallithea_tune.perf_check.budget import costs_of
from kallithea_tune.perf_check.measurement import Examined, Measurement
from kallithea_tune.perf_check.model import Check, Finding, Harm, Severity
from kallithea_tune.system import busyness
from kallithea_tune.system.busyness import Others, Part

DAY = datetime.date(2026, 6, 1)


@pytest.fixture
def nothing(tmp_path):
    """An instance in which nothing is set."""
    ini = tmp_path / "my.ini"
    ini.write_text("[app:main]\nuse = egg:nothing\n")
    return load(str(ini))


class Clock:
    """Time that stands still until a check says that it took some."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The time that runner and deadlines go by."""
    ours = Clock()
    for module in (runner, measurement):
        monkeypatch.setattr(module, "time", ours)
    monkeypatch.setattr(busyness, "others", Others)
    return ours


def quiet(context):
    return ()


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a toy measures: findings, which its judge passes on."""

    findings: tuple[Finding, ...]
    examined: Examined = Examined(1, 1, "toy")


def made(id="ABC001", run=quiet, tags=frozenset(), **cost):
    measures = Measurement(lambda context: Seen(tuple(run(context))), **cost)
    return judging(id, measures, tags)


def judging(id, measures, tags=frozenset()):
    return Check(
        id, id.lower(), "A title", "toys", lambda seen: seen.findings, (measures,), tags=tags
    )


def raising(error):
    def run(context):
        raise error
        yield

    return run


def test_only_skip_and_probes_choose_together():
    checks = [made("A1"), made("A2", seconds=1.0), made("B1", tags=frozenset({"blue"}))]

    def ids(*args):
        return [item.id for item in runner.select(checks, *args)]

    assert ids([], [], True) == ["A1", "A2", "B1"]
    assert ids(["A*"], [], True) == ["A1", "A2"]
    assert ids(["A*", "blue"], ["A1"], True) == ["A2", "B1"]
    assert ids([], [], False) == ["A1", "B1"]
    for only, skip, probes in (
        (["C*"], [], True),
        ([], ["C*"], True),
        (["A2"], [], False),
        (["A1"], ["toys"], True),
    ):
        with pytest.raises(ConfigError):
            runner.select(checks, only, skip, probes)


@pytest.mark.parametrize("budget, share", [(30.0, 1.0), (3.0, 0.5), (1.5, 0.4)])
def test_the_time_is_shared_out_by_what_each_may_take(nothing, clock, budget, share):
    seen = []

    def noting(context):
        seen.append(context.deadline.left)
        return ()

    runner.run(
        nothing,
        [made("A", seconds=3.0), made("B", noting, seconds=1.0), made("C", seconds=2.0)],
        budget,
    )
    assert seen == [pytest.approx(share)]


def test_what_was_not_requested_is_not_run_and_takes_no_time(nothing, clock):
    seen = []

    def noting(context):
        seen.append(context.deadline.left)
        return ()

    checks = [
        made("A", noting, seconds=8.0, requested=lambda context: bool(context.compare_db)),
        made("B", noting, seconds=2.0),
    ]
    assert runner.run(nothing, checks, 1.0).checks == ("A", "B")
    assert seen == [1.0]
    runner.run(nothing, checks, 10.0, "sqlite:///other.db")
    assert sorted(seen) == [1.0, 2.0, 8.0]


def test_nobody_gets_anothers_share(nothing, clock):
    seen = []

    def greedy(context):
        seen.append(context.deadline.left)
        while not context.deadline.passed:
            clock.now += 0.01
        return [Finding(Severity.unknown, "not measured: half of it")]

    report = runner.run(nothing, [made(name, greedy, seconds=1.0) for name in "ABC"], 2.0)
    assert seen == [pytest.approx(2 / 3, abs=0.03)] * 3
    assert 2.0 <= report.seconds < 2.0 + 3 * 0.01
    assert (report.cut, report.enough) == (("A", "B", "C"), 3)


def test_what_others_disturb_comes_last_and_gets_half_as_much_of_its_limit(nothing, clock):
    seen = {}

    def noting(name, **rest):
        return made(name, lambda context: seen.update({name: context.deadline.left}) or (), **rest)

    latency = dataclasses.replace(
        noting("A", seconds=1.0, needs=frozenset({"app"})), disturbed_by=frozenset({Part.cpu})
    )
    runner.run(nothing, [latency, noting("B", seconds=2.0), noting("C", seconds=4.0)], 6.5)
    assert seen == {"B": 2.0, "C": 4.0, "A": 1.0} and list(seen) == ["B", "C", "A"]
    seen.clear()

    def slow(context):
        clock.now += 2.0
        return ()

    runner.run(nothing, [latency, made("B", slow, seconds=2.0)], 2.5)
    assert seen == {"A": 0.5}


def test_who_overstays_takes_the_time_of_those_who_come_after(nothing, clock):
    def stuck(context):
        clock.now += 5.0
        return ()

    report = runner.run(nothing, [made("A", stuck, seconds=1.0), made("B", seconds=1.0)], 3.0)
    assert [(found.check, found.diagnosis) for found in report.findings] == [
        ("B", "not measured: the budget left no time for it")
    ]


def test_a_shared_measurement_is_paid_for_once():
    shared = Measurement(quiet, 3.0)
    checks = [
        judging("A", shared),
        judging("B", Measurement(quiet, 1.0, uses=(shared,))),
        made("C", seconds=2.0),
        made("D"),
    ]
    assert costs_of(checks) == [3.0, 1.0, 2.0, 0.0]


def test_the_quick_ones_leave_their_time_to_the_slow_ones(nothing, clock):
    left = {}

    def noting(context):
        left["slow"] = context.deadline.left
        return ()

    def quick(context):
        clock.now += 0.5
        return ()

    runner.run(
        nothing,
        [
            made("A", noting, seconds=5.0),
            made("B", quick, seconds=3.0),
            made("C", quick, seconds=4.0),
        ],
        6.0,
    )
    # Its part of the budget is two and a half.
    assert left["slow"] == 5.0


def test_the_quick_come_first_and_of_latencies_those_of_the_application(nothing, clock):
    ran = []

    def noting(name, *parts, **rest):
        item = made(name, lambda context: ran.append(name) or (), **rest)
        return dataclasses.replace(item, disturbed_by=frozenset(parts))

    app = frozenset({"ini", "app"})
    needed = Measurement(lambda context: ran.append("needed") or Seen(()), 12.0, needs=app)
    runner.run(
        nothing,
        [
            noting("A", Part.disk, seconds=0.1),
            noting("B", Part.cpu, seconds=9.0, needs=app),
            noting("C"),
            noting("D", seconds=2.0, needs=app),
            noting("E", seconds=0.5),
            noting("F", Part.cpu, seconds=4.0, needs=app),
            noting("G", Part.cpu, seconds=3.5),
            dataclasses.replace(judging("H", needed), disturbed_by=frozenset({Part.cpu})),
            dataclasses.replace(judging("I", needed), disturbed_by=frozenset({Part.cpu})),
        ],
        60.0,
    )
    assert ran == ["C", "E", "D", "A", "needed", "F", "B", "G"]


def test_what_is_cut_is_named_and_what_gets_nearly_nothing_is_not_run(nothing, clock):
    ran = []
    checks = [
        made("A", lambda context: ran.append("A") or (), seconds=10.0),
        made("B", lambda context: ran.append("B") or ()),
    ]
    report = runner.run(nothing, checks, 5.0)
    # It had less than its time, and needed less than it had.
    assert ran == ["B", "A"] and report.findings == [] and report.cut == ()
    ran.clear()
    report = runner.run(nothing, checks, 0.5)
    assert ran == ["B"]
    assert [found.diagnosis for found in report.findings] == [
        "not measured: the budget left no time for it"
    ]
    assert (report.cut, report.enough) == (("A",), 8)


def test_what_was_stopped_or_not_begun_is_so_for_all_checks_that_need_it(nothing, clock):
    taken = []

    def late(context):
        taken.append(context.deadline.left)
        clock.now += context.deadline.left
        return Seen((Finding(Severity.unknown, "not measured: half of it"),))

    shared = Measurement(late, 10.0)
    checks = [judging("A", shared), judging("B", shared), made("C")]
    report = runner.run(nothing, checks, 5.0)
    assert taken == [5.0] and report.cut == ("A", "B")
    del taken[:]
    report = runner.run(nothing, checks, 1.0)
    assert taken == [] and report.cut == ("A", "B")
    assert {found.diagnosis for found in report.findings} == {
        "not measured: the budget left no time for it"
    }


@pytest.mark.parametrize(
    "error, said",
    [
        (NotMeasured("no permission"), "not measured: no permission"),
        (ConfigError("the URL is empty"), "not measured: the URL is empty"),
        (
            ZeroDivisionError("division by zero"),
            "not measured: ZeroDivisionError: division by zero",
        ),
        (SystemExit(1), "not measured: SystemExit: 1"),
        (RuntimeError(), "not measured: RuntimeError"),
        (
            OSError(28, "No space left on device"),
            "not measured: OSError: [Errno 28] No space left on device",
        ),
    ],
)
def test_what_breaks_in_a_check_is_a_finding(nothing, error, said):
    fine = made("ABC002", lambda context: [Finding(Severity.ok, "fine")])
    report = runner.run(nothing, [made(run=raising(error)), fine], 9)
    assert [(found.check, found.severity, found.diagnosis) for found in report.findings] == [
        ("ABC001", Severity.unknown, said),
        ("ABC002", Severity.ok, "fine"),
    ]


def test_an_interrupt_is_none_of_a_checks_business(nothing):
    with pytest.raises(KeyboardInterrupt):
        runner.run(nothing, [made(run=raising(KeyboardInterrupt()))], 9)


def test_what_fails_while_an_interrupt_is_handled_does_not_hide_it(nothing):
    def tidying(error):
        def run(context):
            try:
                raise KeyboardInterrupt
            finally:
                raise error
            yield

        return run

    for error, said in (
        (OSError(9, "Bad descriptor"), ""),
        (NotMeasured("a table is left"), r"\(a table is left\)"),
    ):
        with pytest.raises(KeyboardInterrupt, match=f"^{said}$"):
            runner.run(nothing, [made(run=tidying(error))], 9)


def test_worst_first_then_by_who_is_hurt_by_cost_and_by_id_and_the_accepted_last():
    def found(check, severity, cost=None, ignored="", harm=Harm.some_pages):
        return Finding(severity, "", check=check, impact_ms=cost, ignored=ignored, harm=harm)

    order = [
        found("D", Severity.error),
        found("Y", Severity.warning, harm=Harm.access),
        found("X", Severity.warning, 1.0, harm=Harm.every_page),
        found("Z", Severity.warning, 50.0),
        found("A", Severity.warning, 5.0),
        found("B", Severity.warning),
        found("A", Severity.advice),
        found("A", Severity.unknown),
        found("A", Severity.ok),
        found("A", Severity.error, 99.0, "accepted"),
    ]
    assert runner.ranked(order[::-1]) == order


@pytest.mark.parametrize(
    "line, pattern, reason, until",
    [
        ("DB001: small team", "DB001", "small team", None),
        ("DB001 until 2027-01-01: small: team", "DB001", "small: team", datetime.date(2027, 1, 1)),
        ("  CAC*  until  2026-06-01 :  why ", "CAC*", "why", DAY),
    ],
)
def test_a_line_that_ignores(line, pattern, reason, until):
    assert runner.parse_ignores("\n" + line + "\n") == [runner.Ignore(pattern, reason, until)]


@pytest.mark.parametrize(
    "line",
    [
        "DB001",
        "DB001:",
        ": why",
        "DB001 2027-01-01: why",
        "DB001 until 2027-13-01: why",
        "DB001 until 01.01.2027: why",
    ],
)
def test_a_line_that_does_not_read_so_is_refused(line):
    with pytest.raises(ConfigError, match="is not of the form"):
        runner.parse_ignores(line)


@pytest.mark.parametrize(
    "until, covers", [(None, True), (DAY, True), (DAY - datetime.timedelta(days=1), False)]
)
def test_an_ignore_covers_its_last_day_too(until, covers):
    assert runner.Ignore("ABC*", "why", until).covers(made(), DAY) is covers


def test_what_is_in_order_is_not_ignored(nothing):
    checks = [
        made(run=lambda context: [Finding(Severity.ok, "fine"), Finding(Severity.error, "bad")])
    ]
    sections = {**nothing.sections, "kallithea_tune": {"ignore": "ABC001: why"}}
    report = runner.run(dataclasses.replace(nothing, sections=sections), checks, 9)
    assert [(found.diagnosis, found.ignored) for found in report.findings] == [
        ("fine", ""),
        ("bad", "why"),
    ]
    assert report.at_least(Severity.advice) == []


def examining(severity: Severity, *examined: Examined) -> Check:
    """A check with one finding, whose measurements examined so much."""
    measures = tuple(Measurement(lambda context, item=item: Seen((), item)) for item in examined)
    return Check(
        "ABC001", "abc", "A title", "toys", lambda *seen: [Finding(severity, "judged")], measures
    )


ONE = Examined(0, 1, "repository")
SOME, NONE = Examined(3, 4, "repository"), Examined(0, 4, "repository")
ALL, NO_MATTER = Examined(4, 4, "repository"), Examined(0, 0, "repository")
REST = "not measured: 1 of 4 repositories was not examined"
NOTHING = "not measured: none of 4 repositories was examined"


@pytest.mark.parametrize(
    ("severity", "examined", "expected"),
    [
        (Severity.ok, [ALL], {"judged"}),
        (Severity.ok, [NO_MATTER], {"judged"}),
        (Severity.ok, [SOME], {"judged", REST}),
        (Severity.ok, [NONE], {NOTHING}),
        (Severity.ok, [ONE], {"not measured: the repository was not examined"}),
        (Severity.ok, [ALL, NONE], {NOTHING}),
        (Severity.warning, [SOME], {"judged", REST}),
        # That nothing could be examined has its reason in the error.
        (Severity.error, [NONE], {"judged"}),
        (Severity.unknown, [SOME], {"judged"}),
        (Severity.unknown, [NONE], {"judged"}),
    ],
)
def test_nothing_is_ok_without_having_been_examined(
    nothing, severity: Severity, examined: "list[Examined]", expected: "set[str]"
) -> None:
    findings = runner.run(nothing, [examining(severity, *examined)], 1).findings
    assert {finding.diagnosis for finding in findings} == expected
    assert all(
        finding.severity is Severity.unknown
        for finding in findings
        if finding.diagnosis != "judged"
    )
