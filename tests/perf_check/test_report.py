"""How findings read: four lines of 80 columns, and what changed since the last time."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kallithea_tune.perf_check import report, saved_run
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Command, Statements
from kallithea_tune.perf_check.results import Place, PlacedRun, Results
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.system import written_path
from kallithea_tune.text import has_control

text = st.text(max_size=300)


@settings(deadline=None)
@given(
    st.sampled_from(Severity),
    text,
    text,
    st.dictionaries(
        st.text(max_size=20),
        st.one_of(text, st.floats(), st.lists(st.integers()), st.booleans(), st.none()),
        max_size=6,
    ),
    text,
    text,
    text,
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
)
def test_any_finding_is_at_most_four_lines_of_80_columns(
    severity, diagnosis, subject, evidence, limit, remedy, kept, cost
):
    found = Finding(
        severity,
        diagnosis,
        subject,
        evidence,
        limit,
        "",
        remedy,
        check="ABC001",
        ignored=kept,
        impact_ms=cost,
        impact_per="view",
    )
    lines = report.finding_lines(found)
    assert 1 <= len(lines) <= 4 and max(map(len, lines)) <= 80
    assert "ABC001" in lines[0] and all(not has_control(line) for line in lines)
    json.dumps(report.rows([found]), allow_nan=False)


@pytest.mark.parametrize(
    "diagnosis, remedy, lines",
    [
        (
            "short",
            "short",
            [
                "ABC001 error: short",
                "  seen: files 3",
                "  do:   short",
                "  more: gearbox perf-check --explain ABC001",
            ],
        ),
        ("a " * 50, "short", 4),
        (
            "short",
            "word " * 25,
            [
                "ABC001 error: short",
                "  seen: files 3",
                "  do:   " + "word " * 13 + "word",
                "        " + "word " * 10 + "word",
            ],
        ),
    ],
)
def test_a_long_remedy_takes_the_last_line_and_a_long_diagnosis_the_room_that_is_left(
    diagnosis, remedy, lines
):
    found = report.finding_lines(
        Finding(Severity.error, diagnosis, evidence={"files": 3}, remedy=remedy, check="ABC001")
    )
    assert found == lines or len(found) == lines
    assert "do:" in "".join(found)


def test_a_command_has_its_own_line_and_is_neither_broken_nor_cut():
    path = "/srv/" + "kallithea/" * 9 + "kallithea.db"
    for remedy, lines in (
        (f"git -C {path} gc", [f"  do:   git -C {path} gc"]),
        (
            f"stop Kallithea; sqlite3 {path} 'PRAGMA journal_mode = WAL'",
            ["  do:   stop Kallithea;", f"        sqlite3 {path} 'PRAGMA journal_mode = WAL'"],
        ),
        (
            f"cron: 0 4 * * * find {path} -type f -mtime +30 -delete",
            ["  do:   cron:", f"        0 4 * * * find {path} -type f -mtime +30 -delete"],
        ),
        ("cron: 0 4 * * * find /srv -delete", ["  do:   cron: 0 4 * * * find /srv -delete"]),
        # Of a value it is known which words are the command's, whatever the program is.
        (
            Command(("/opt/any", path), stopped=True, note="at night"),
            ["  do:   at night: stop Kallithea, then:", f"        /opt/any {path}"],
        ),
        (Statements("ANALYZE", ("any", path)), [f"  do:   any {path} ANALYZE"]),
        (
            Statements("ANALYZE;" * 1000, ("psql",)),
            ["  do:   gearbox perf-check --fix ABC001 -n shows it: 8,007 characters"],
        ),
    ):
        found = Finding(
            Severity.error, "short", evidence={"files": 3}, remedy=remedy, check="ABC001"
        )
        assert report.finding_lines(found)[2 : 2 + len(lines)] == lines


@pytest.mark.parametrize(
    "diagnosis, evidence, limit, cost, seen",
    [
        (
            "it is slow",
            {"p99_ms": 5.0},
            "1 ms",
            7.0,
            ["  seen: +7 ms per view; p99 5 ms; threshold 1 ms"],
        ),
        ("it takes 7 ms", {"p99_ms": 5.0}, "1 ms", 7.0, ["  seen: p99 5 ms; threshold 1 ms"]),
        # The threshold gives way to the second figure.
        (
            "it is slow",
            {"first": "a" * 30, "second": "b" * 15, "third": "c" * 9},
            "what is usual",
            None,
            ["  seen: first {}, second {}, ...".format("a" * 30, "b" * 15)],
        ),
    ],
)
def test_what_was_seen(diagnosis, evidence, limit, cost, seen):
    found = Finding(
        Severity.error,
        diagnosis,
        "",
        evidence,
        limit,
        check="ABC001",
        impact_ms=cost,
        impact_per="view",
        remedy="short",
    )
    assert report.finding_lines(found)[1:-2] == seen


def test_what_is_in_order_has_room_for_all_its_figures():
    found = Finding(
        Severity.ok,
        "fine",
        "",
        {"figure_%d" % number: number for number in range(12)},
        check="ABC001",
    )
    lines = report.finding_lines(found)
    assert len(lines) == 4 and "figure 11 11" in " ".join(" ".join(lines).split())


def test_a_line_per_area_the_worst_first():
    findings = [
        Finding(Severity.ok, "fine", area="storage"),
        Finding(Severity.ok, "fine", area="storage"),
        Finding(Severity.error, "accepted", area="serving", ignored="why"),
        Finding(Severity.advice, "better so", area="serving"),
        Finding(Severity.warning, "slow", area="mail"),
        Finding(Severity.warning, "slower", area="mail", impact_ms=9.0),
        Finding(Severity.unknown, "not measured: x", area="celery"),
    ]
    assert [line for _, line in report.summary(findings)] == [
        "mail         warning  slower",
        "serving      advice   better so",
        "celery       unknown  not measured: x",
        "storage      ok       2 checked, nothing to change",
    ]


def test_the_first_line_says_what_was_left_out_and_why() -> None:
    def unknown(check: str, reason: str, ignored: str = "") -> Finding:
        diagnosis = f"not measured: {reason}"
        return Finding(Severity.unknown, diagnosis, check=check, area="mail", ignored=ignored)

    findings = [
        unknown("A1", "the database cannot be read, see DB000"),
        unknown("A2", "the database cannot be read, see DB000"),
        unknown("A2", "the database cannot be read, see DB000"),
        *(unknown(f"B{number}", "1 of 3 pages was not examined") for number in range(5)),
        unknown("C1", "no permission"),
        unknown("C2", "a known reason", ignored="why"),
    ]
    cut = ("B0", "B1", "B2", "B3", "B4")
    stream = io.StringIO()
    report.write_text(Run(findings, 1.0, cut=cut, enough=45), stream)
    assert stream.getvalue().splitlines()[:2] == [
        "Left out: B0, B1, B2 and 2 more for lack of time (--budget 45 would be enough);",
        "A1, A2: the database cannot be read, see DB000; C1 for other reasons.",
    ]
    assert not report.left_out(Run([Finding(Severity.ok, "fine")], 1.0))


def test_checks_that_have_nothing_to_look_at_are_counted():
    found = [Finding(Severity.ok, "fine", check="ABC001")]
    run = Run(found, 1.5, checks=("ABC001", "SCA001", "CEL002"))
    assert report.checks_of(run) == "3 checks (2 n/a) in 1.5 s"
    assert report.checks_of(Run(found, 0.0, checks=("ABC001",))) == "1 check"


def test_colours_need_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    run = Run(
        [Finding(Severity.error, "bad", area="mail", check="ABC001")], 1.0, ["a note"], ("ABC001",)
    )
    written = {}
    for stream in (Terminal(), io.StringIO()):
        report.write_text(run, stream)
        written[stream.isatty()] = stream.getvalue()
    assert written[True].count("\033[31;1m") == written[True].count("\033[0m") == 2
    assert written[True].replace("\033[31;1m", "").replace("\033[0m", "") == written[False]
    assert written[False].endswith(
        "Note: a note\n1 error, 0 warnings, 0 advice, 0 unknown, 0 ok; 1 check in 1.0 s\n"
    )


def found(check, severity, diagnosis="it is so", subject="", cost=None):
    return Finding(severity, diagnosis, subject, check=check, impact_ms=cost, impact_per="view")


OK, UNKNOWN, ADVICE, WARNING, ERROR = Severity
BLIND = found("A", UNKNOWN, "not measured: why")


def results(*places: Any) -> Results:
    return Results(
        tuple(
            PlacedRun(Place(name), Run(findings, 1.0, checks=tuple(checks)))
            for name, findings, checks in places
        )
    )


def before(*place: Any) -> saved_run.SavedResults:
    return saved_run.parse(saved_run.document(results(place)))


@pytest.mark.parametrize(
    "then, now, said",
    [
        ([found("A", OK)], [found("A", OK)], []),
        ([found("A", OK)], [found("A", ERROR)], ["worse: A ok -> error: it is so"]),
        ([found("A", ERROR)], [found("A", WARNING)], ["better: A error -> warning: it is so"]),
        ([found("A", ERROR)], [], ["better: A error -> ok: it is so"]),
        ([], [found("A", ERROR, subject="x")], ["worse: A ok -> error (x): it is so"]),
        ([], [found("A", OK, subject="x")], []),
        ([found("A", WARNING, cost=100.0)], [found("A", WARNING, cost=140.0)], []),
        (
            [found("A", ADVICE, cost=100.0)],
            [found("A", ADVICE, cost=160.0)],
            ["worse: A 100 -> 160 ms per view: it is so"],
        ),
        (
            [found("A", ADVICE, cost=100.0)],
            [found("A", ADVICE, cost=60.0)],
            ["better: A 100 -> 60 ms per view: it is so"],
        ),
        ([found("A", OK, cost=0.2)], [found("A", OK, cost=0.6)], []),
        (
            [found("A", OK, cost=-20.0)],
            [found("A", OK, cost=-2.0)],
            ["worse: A -20 -> -2 ms per view: it is so"],
        ),
        (
            [found("A", OK, subject="x")],
            [BLIND],
            ["no longer measured: A ok -> unknown: not measured: why"],
        ),
        (
            [BLIND],
            [found("A", WARNING, subject="x")],
            ["now measured: A unknown -> warning (x): it is so", "now measured: A unknown -> ok"],
        ),
        ([BLIND], [BLIND], []),
    ],
)
def test_what_changed(then, now, said):
    lines = saved_run.compare(before("my.ini", then, "A"), results(("other.ini", now, "A")))
    assert sorted(lines) == sorted(said)


def test_what_only_one_run_looked_at_is_left_out():
    earlier = before("my.ini", [found("A", ERROR), found("B", ERROR)], "AB")
    now = results(("my.ini", [found("C", ERROR)], "BC"))
    assert saved_run.compare(earlier, now) == ["better: B error -> ok: it is so"]


def test_of_several_places_each_is_compared_with_itself():
    one, two = ("1.ini", [found("A", ERROR)], "A"), ("2.ini", [found("A", ERROR)], "A")
    earlier = saved_run.parse(saved_run.document(results(one, two)))
    fixed = ("2.ini", [], "A")
    assert saved_run.compare(earlier, results(one, two)) == []
    assert saved_run.compare(earlier, results(one, fixed)) == [
        "2.ini: better: A error -> ok: it is so"
    ]
    assert saved_run.compare(earlier, results(one, ("3.ini", [], "A"))) == [
        "3.ini: not in the earlier run",
        "2.ini: only in the earlier run",
    ]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.builds(
            Finding,
            st.sampled_from(Severity),
            text,
            text,
            st.dictionaries(text, st.one_of(text, st.integers(), st.none())),
            text,
            text,
            text,
            check=st.sampled_from("ABC"),
            impact_ms=st.one_of(st.none(), st.floats(0, 1e6)),
        )
    )
)
def test_what_was_saved_is_read_back(tmp_path_factory, findings):
    path = str(tmp_path_factory.getbasetemp() / "saved.json")
    run = Run(findings, 1.0, checks=("A", "B", "C"))
    results = Results((PlacedRun(Place("my.ini"), run),))
    saved_run.save(results, written_path.examine(path, saved_run.OUTPUT))
    again = saved_run.read(path)
    assert saved_run.compare(again, results) == []
    (place,) = again.places
    assert place.checks == set(run.checks) and len(place.findings) == len(findings)
