"""What becomes of what machines sent."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json

import pytest

from kallithea_tune.perf_check import report, saved_run
from kallithea_tune.perf_check.fleet import facts, merging
from kallithea_tune.perf_check.fleet.client import Reply
from kallithea_tune.perf_check.fleet.messages import Answer, Machine, State
from kallithea_tune.perf_check.fleet.report import bounded
from kallithea_tune.perf_check.formats import html, nagios, prometheus
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import Place, PlacedRun, Results, Rule
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.perf_check.scaling.comparison import REQUIREMENTS
from kallithea_tune.perf_check.scaling.instances import Facts, Value

NAMES = [item.setting for item in REQUIREMENTS if item.rule is Rule.must_be_equal]
RUN = Run([Finding(Severity.warning, "it is slow", check="STO001")], 1.0, checks=("STO001",))


def _facts(**values: str) -> Facts:
    known = {name: Value("same", "same", {}) for name in NAMES}
    known["index-create"] = Value("", "", {})
    given = {name.replace("__", "."): Value(text, text, {}) for name, text in values.items()}
    return Facts("", "", "app:main", {**known, **given}, {})


def _answer(host: str, boot: str = "boot", **values: str) -> Answer:
    text = saved_run.document(Results((PlacedRun(Place("my.ini", host), RUN),)))
    machine = Machine(host, boot, f"pid:[{host}]", "/my.ini")
    return Answer(State.done, "", text, facts.dumped(_facts(**values)), machine)


OWN = merging.Reported(
    PlacedRun(Place("my.ini"), RUN), Machine("here", "boot", "pid:[1]", "/my.ini"), _facts()
)


def merge(*replies: Reply) -> Results:
    return merging.merged(Results((OWN.run,)), replies, OWN)


def test_machines_that_agree_have_a_run_each_and_nothing_more() -> None:
    results = merge(Reply("celery@b", _answer("b")), Reply("celery@a", _answer("a")))
    assert [str(item.place) for item in results.runs] == ["my.ini", "my.ini on a", "my.ini on b"]
    assert [[one.check for one in item.run.findings] for item in results.runs] == [["STO001"]] * 3
    assert results.matrix and not results.matrix.notable and not results.silent


def test_the_one_that_differs_has_the_finding() -> None:
    results = merge(
        Reply("a", _answer("a", session__key="other")), Reply("b", _answer("b", versions="older"))
    )
    found = {
        str(item.place): [one.check for one in item.run.findings if one.check != "STO001"]
        for item in results.runs
    }
    assert found == {"my.ini": [], "my.ini on a": ["SCA002"], "my.ini on b": ["SCA012"]}


def test_equal_host_names_of_two_machines_are_found() -> None:
    twin = dataclasses.replace(
        _answer("here"), machine=Machine("here", "boot2", "pid:[1]", "/a.ini")
    )
    results = merge(Reply("celery@here", twin))
    assert "SCA015" in [one.check for one in results.runs[1].run.findings]
    beside = dataclasses.replace(twin, machine=dataclasses.replace(OWN.machine, ini="/a.ini"))
    results = merge(Reply("celery@here", beside))
    assert "SCA015" not in [one.check for one in results.runs[1].run.findings]


def test_sqlite_on_two_machines_is_found_and_directories_are_not_compared() -> None:
    elsewhere = _answer("a", boot="boot2", sqlalchemy__url="/srv/kallithea.db", cache_dir="b")
    own = dataclasses.replace(OWN, facts=_facts(sqlalchemy__url="/srv/kallithea.db"))
    results = merging.merged(Results((OWN.run,)), [Reply("a", elsewhere)], own)
    for item in results.runs:
        assert [one.check for one in item.run.findings if one.check.startswith("SCA")] == ["SCA014"]
    assert results.matrix
    (row,) = [row for row in results.matrix.rows if row.setting == "cache_dir"]
    assert row.severity is Severity.unknown


@pytest.mark.parametrize(
    "answer, reason",
    [
        (None, "gone"),
        (
            Answer(State.failed, "the checks did not finish in their time"),
            "did not finish in their time",
        ),
        (Answer(State.busy, ""), "the checks of another command"),
        (Answer(State.forgotten, ""), "restarted meanwhile"),
        (dataclasses.replace(_answer("a"), report="{}"), "not a report of one instance"),
        (dataclasses.replace(_answer("a"), report="[" * 99999), "not a report of one instance"),
        (dataclasses.replace(_answer("a"), facts="{}"), "not a report of one instance"),
        (dataclasses.replace(_answer("a"), facts=json.dumps({"name": 7})), "not a report of one"),
        (dataclasses.replace(_answer("a"), facts='{"more": {"a": 1}}'), "not a report of one"),
    ],
)
def test_who_sends_no_report_is_listed_with_why(answer: "Answer | None", reason: str) -> None:
    results = merge(Reply("celery@a", answer, reason="gone" if answer is None else ""))
    (silent,) = results.silent
    assert silent.machine == "celery@a" and reason in silent.reason
    assert results.runs == (OWN.run,) and results.matrix is None


def test_facts_that_lack_a_setting_keep_no_other_machine_from_comparison() -> None:
    few = dataclasses.replace(_facts(), values={"session.key": Value("same", "same", {})})
    answer = dataclasses.replace(_answer("a"), facts=facts.dumped(few))
    results = merge(
        Reply("celery@a", answer),
        Reply("celery@b", _answer("b")),
        Reply("celery@c", _answer("c", session__secret="other")),
    )
    assert results.matrix
    rows = {row.setting: row for row in results.matrix.rows}
    assert rows["session.secret"].severity is Severity.error
    assert rows["session.secret"].values[1] == "not measured"
    assert rows["session.type"].severity is Severity.unknown
    assert rows["session.key"].severity is Severity.ok


def test_equal_host_names_of_two_other_machines_are_found() -> None:
    twin = dataclasses.replace(
        _answer("a"), machine=Machine("a", "boot2", "pid:[1]", "/other/my.ini")
    )
    results = merge(Reply("celery@a", _answer("a")), Reply("other@a", twin))
    found = [[one.check for one in item.run.findings] for item in results.runs]
    assert [("SCA015" in checks) for checks in found] == [False, False, True]


def test_this_machine_and_a_second_worker_of_one_add_nothing() -> None:
    same = dataclasses.replace(_answer("here"), machine=OWN.machine)
    results = merge(
        Reply("celery@here", same),
        Reply("a-elsewhere", Answer(State.elsewhere, machine=_answer("b").machine)),
        Reply("celery@b", _answer("b")),
        Reply("late@b", _answer("b")),
    )
    assert [str(item.place) for item in results.runs] == ["my.ini", "my.ini on b"]
    assert not results.silent


def test_who_relies_on_a_worker_that_did_not_report_is_listed() -> None:
    results = merge(
        Reply("celery@a", reason="gone"),
        Reply("second@a", Answer(State.elsewhere, machine=_answer("a").machine)),
    )
    assert [item.machine for item in results.silent] == ["celery@a", "second@a"]
    assert "which did not report" in results.silent[1].reason


GOOD = json.loads(_answer("a").report)
FINDING = GOOD["runs"][0]["findings"][0]
VALUE = {"shown": "a", "identity": "a", "option": {}, "failure": ""}


def _nested(depth: int) -> object:
    value: object = "deep"
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": {"deep": _nested(200)}},
        {"evidence": {"a_ms": float("nan"), "b_mb": float("inf"), "c": -0.0, "d": None}},
        {"evidence": {"a_s": 10**299, "\x1b[2J": ["\x1b[2J", "<script>"]}},
        {"impact_ms": float("nan"), "impact_per": "\x1b[2J<script>"},
        {"impact_ms": float("inf")},
        {"impact_ms": -1e308},
        {"diagnosis": "\ud800\x1b[2J\n<script>" * 99, "subject": "\x1b[2J<script>"},
        {"check": "<script>", "area": "<script>", "remedy": "\x1b[2J<script>"},
        {"confidence": "<script>", "threshold": "<script>", "source": "\x1b[2J", "ignored": "x"},
        {"confidence": 7, "area": ["x"], "check": None},
    ],
)
def test_whatever_a_finding_has_every_report_can_show_it(change: "dict[str, object]") -> None:
    found = {**FINDING, **change}
    document = {"runs": [{**GOOD["runs"][0], "instance": "\x1b[2J<script>", "findings": [found]}]}
    answer = dataclasses.replace(_answer("a"), report=json.dumps(document))
    _shown_harmlessly(merge(Reply("celery@a", answer)))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"session.key": {**VALUE, "shown": "\x1b[2J<script>", "identity": "x"}},
        {"sqlalchemy.url": {**VALUE, "shown": "/\x1b[2J<script>"}},
        {"versions": {**VALUE, "failure": "\x1b[2J<script>"}},
        {"\x1b[2J<script>": VALUE},
    ],
)
def test_whatever_the_facts_have_every_report_can_show_them(values: "dict[str, object]") -> None:
    document = {**json.loads(facts.dumped(_facts())), "values": values, "more": values}
    answer = dataclasses.replace(_answer("a", boot="boot2"), facts=json.dumps(document))
    _shown_harmlessly(merge(Reply("celery@a", answer)))


@pytest.mark.parametrize(
    "change",
    [
        {"name": {"a": "b"}},
        {"section": {"a": "b"}},
        {"values": {"session.key": {**VALUE, "shown": {"a": "b"}}}},
        {"values": {"session.key": {**VALUE, "identity": {"a": "b"}}}},
        {"values": {"session.key": {**VALUE, "failure": 7}}},
        # It would be in a remedy.
        {"values": {"session.secret": {**VALUE, "option": {"session.secret": "mine"}}}},
        {"values": "text"},
        {"values": {"session.key": "text"}},
        {"values": {"session.key": {"shown": "a"}}},
    ],
)
def test_facts_of_another_shape_are_none(change: "dict[str, object]") -> None:
    document = {**json.loads(facts.dumped(_facts())), **change}
    answer = dataclasses.replace(_answer("a"), facts=json.dumps(document))
    (silent,) = merge(Reply("celery@a", answer)).silent
    assert "not a report of one instance" in silent.reason


@pytest.mark.parametrize("name", ["check", "area", "confidence"])
@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "x" * 61])
def test_names_of_another_shape_are_no_report(name: str, text: str) -> None:
    document = {"runs": [{**GOOD["runs"][0], "findings": [{**FINDING, name: text}]}]}
    answer = dataclasses.replace(_answer("a"), report=json.dumps(document))
    (silent,) = merge(Reply("celery@a", answer)).silent
    assert "not a report of one instance" in silent.reason


def test_a_machine_that_ran_nothing_is_not_fine() -> None:
    document = {"runs": [{**GOOD["runs"][0], "checks": [], "findings": []}]}
    answer = dataclasses.replace(_answer("a"), report=json.dumps(document))
    (silent,) = merge(Reply("celery@a", answer)).silent
    assert silent.reason == "it ran none of the checks"


def _shown_harmlessly(results: Results) -> None:
    """Write all reports of two runs; none has what a terminal or a browser would carry out."""
    assert len(results.runs) == 2
    stream = io.StringIO()
    report.write_results(results, stream, everything=True)
    page = html.page(results, datetime.datetime(2026, 1, 1))
    written = [stream.getvalue(), page, saved_run.document(results)]
    written += [nagios.line(results, Severity.advice), prometheus.text(results)]
    for text in written:
        assert "\x1b" not in text
        text.encode()
    assert "<script>" not in page.replace("<script>\n", "")
    assert report.table(results)[1]


def test_one_finding_that_is_too_long_takes_no_other_with_it() -> None:
    findings = [
        Finding(Severity.error, "x" * 30_000, check="STO001"),
        Finding(Severity.warning, "second", check="STO002"),
    ]
    text = bounded(Run(findings, 1.0, checks=("STO001", "STO002")), Place("my.ini"), 20_000)
    (place,) = saved_run.parse(text).places
    assert len(text) <= 20_000 and place.findings[0].diagnosis == "second"
    assert "not sent: 1 more finding," in place.findings[1].diagnosis


def test_a_report_that_is_too_long_has_the_worst_and_says_what_is_missing() -> None:
    findings = [Finding(Severity.error, "first", check="STO001")]
    findings += [
        Finding(Severity.ok, "x" * 200, check="STO002", subject=str(n)) for n in range(999)
    ]
    text = bounded(Run(findings, 1.0, checks=("STO001", "STO002")), Place("my.ini"), 20_000)
    assert len(text.encode()) <= 20_000
    (place,) = saved_run.parse(text).places
    assert place.findings[0].diagnosis == "first" and 3 < len(place.findings) < 999
    left = place.findings[-1]
    assert left.severity is Severity.unknown
    assert f"not sent: {1000 - len(place.findings) + 1} more findings" in left.diagnosis
