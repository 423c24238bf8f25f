"""Which figures got notably worse, and how their lines are drawn; then the page in a browser."""

from __future__ import annotations

import datetime
import math
import random
import re
from pathlib import Path
from typing import Optional, Sequence

import pytest
from servers.browser import Browser

from kallithea_tune.perf_check import saved_run
from kallithea_tune.perf_check.formats import html, trends, trends_section
from kallithea_tune.perf_check.formats.sparklines import Sparkline, sparkline
from kallithea_tune.perf_check.formats.trends import Figure, History, Mark, mark, step
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import Matrix, Place, PlacedRun, Results, Row, Rule
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.perf_check.saved_run import SavedPlace, SavedResults

NAN = math.nan
WHEN = datetime.datetime(2026, 11, 27, 12, 30)
HOSTILE = "</title></svg><script>alert(1)</script>{{ 7*7 }}\"'&\x1b[2J"
LATENCY = Figure("my.ini", "STO001", "/", "p99_ms")


def times(number: int) -> "tuple[datetime.datetime, ...]":
    return tuple(WHEN - datetime.timedelta(days=number - 1 - day) for day in range(number))


@pytest.mark.parametrize(
    "values, begin, expected",
    [
        ([10.0, 15.1], 1, Mark.worse),
        ([10.0, 14.9], None, Mark.none),
        ([15.1, 10.0], 1, Mark.better),
        ([10.0], None, Mark.none),
        # One bad first run is no measure of what is usual.
        ([30.0, 10.0, 10.0, 10.0], None, Mark.none),
        # It got worse and stayed so, although not in the last run.
        ([10.0, 11.0, 9.0, 30.0, 31.0, 29.0], 3, Mark.worse),
        ([10.0, 11.0, 9.0, NAN, 30.0, NAN], 4, Mark.worse),
        # It was worse once.
        ([10.0, 11.0, 9.0, 30.0, 10.0, 10.0], None, Mark.none),
        # Noise of this size is usual there.
        ([10.0, 40.0, 12.0, 35.0, 11.0, 38.0], None, Mark.none),
        # What nobody feels.
        ([0.01, 0.01, 0.01, 0.05], None, Mark.none),
        # Slowly.
        ([10 * 1.05**run for run in range(30)], 20, Mark.worse),
        # Longer ago than ten values.
        ([10.0] * 10 + [20.0] * 11, None, Mark.none),
        ([NAN, NAN], None, Mark.none),
    ],
)
def test_a_lasting_change_is_notable(
    values: "list[float]", begin: Optional[int], expected: Mark
) -> None:
    found = step(LATENCY, values)
    assert (found and found.begin) == begin
    assert mark(LATENCY, found) is expected


@pytest.mark.parametrize(
    "name, more, less",
    [
        ("p99_ms", Mark.worse, Mark.better),
        ("saved_from_ms", Mark.better, Mark.worse),
        ("writes_per_s", Mark.better, Mark.worse),
        ("swapped_in_mb_per_s", Mark.worse, Mark.better),
        ("errors", Mark.worse, Mark.better),
        ("timeout_s", Mark.changed, Mark.changed),
        ("free_gb", Mark.changed, Mark.changed),
    ],
)
def test_worse_is_said_where_it_is_known(name: str, more: Mark, less: Mark) -> None:
    figure = Figure("my.ini", "STO001", "", name)
    assert mark(figure, step(figure, [10.0, 20.0])) is more
    assert mark(figure, step(figure, [20.0, 10.0])) is less


def test_every_number_of_the_evidence_is_a_figure() -> None:
    evidence = {
        "p99_ms": 1.5,
        "files": 3,
        "rust": True,
        "path": "/srv",
        "between_ms": [1, 2],
        "largest_mb": {"hg-one": 2.0, "git-one": "?"},
        "endless": math.inf,
    }
    found = [
        Finding(Severity.ok, "", "/", {"p99_ms": 1.0, "alone": 7}, check="STO001"),
        Finding(Severity.error, "", "/", evidence, "", "", "", "high", -3.0, "write", "STO001"),
    ]
    saved = SavedResults((SavedPlace(Place("my.ini"), frozenset(), tuple(found)),))
    values = {(one.label, one.unit): value for one, value in trends.figures(saved).items()}
    assert values == {
        ("costs per write", " ms"): -3.0,
        ("p99", " ms"): 1.5,
        ("files", ""): 3.0,
        ("largest hg-one", " MB"): 2.0,
        ("alone", ""): 7.0,
    }


def drawn(values: Sequence[float]) -> Sparkline:
    return sparkline(times(len(values)), values)


def pieces(line: Sparkline) -> "list[list[tuple[float, float]]]":
    """The points of each part of a path that is drawn without a break."""
    return [
        [tuple(map(float, point.split(","))) for point in re.split("[L ]", piece)]  # type: ignore
        for piece in line.path.split("M")[1:]
    ]


def test_a_gap_is_not_joined_over() -> None:
    line = drawn([1.0, 2.0, NAN, 3.0, NAN, NAN, 2.0, 1.0])
    assert [len(piece) for piece in pieces(line)] == [2, 2, 2]
    # A single one is a dot.
    assert len(set(pieces(line)[1])) == 1
    assert line.last and not drawn([1.0, NAN]).last
    assert [len(piece) for piece in pieces(drawn([NAN, 1.0, 1.0]))] == [2]


def test_values_lie_between_the_smallest_and_the_largest_at_their_times() -> None:
    ((first, middle, last),) = pieces(drawn([2.0, 4.0, 3.0]))
    assert (first[0], last[0]) == (Sparkline.left, Sparkline.right)
    assert first[1] == Sparkline.bottom and middle[1] < last[1] < first[1]
    uneven = [WHEN, WHEN + datetime.timedelta(days=1), WHEN + datetime.timedelta(days=10)]
    ((_, second, _),) = pieces(sparkline(uneven, [1.0, 2.0, 3.0]))
    assert second[0] < Sparkline.left + 0.11 * (Sparkline.right - Sparkline.left)
    assert (drawn([1.0, 2.0]).begin, drawn([1.0, 2.0]).end) == ("2026-11-26", "2026-11-27")
    assert sparkline([WHEN], [5.0]).end == "12:30"


def test_a_thousand_runs_keep_their_peaks_and_stay_small() -> None:
    values = [random.Random(run).gauss(10, 1) for run in range(1000)]
    values[437] = 100.0
    (piece,) = pieces(drawn(values))
    assert len(piece) <= 2 * Sparkline.width
    assert min(y for _, y in piece) == 4.0 and max(y for _, y in piece) == Sparkline.bottom


def results() -> Results:
    findings = [
        Finding(Severity.warning, "the disk is full", HOSTILE, check="STO004", area="storage"),
        Finding(Severity.ok, "fine", "/", check="STO001", area="storage"),
    ]
    names = tuple(f"/srv/kallithea/instance-{number}/production.ini" for number in range(8))
    rows = (Row("index_dir", ("/srv/" + "long" * 40,) * 8, Rule.must_be_equal),)
    return Results((PlacedRun(Place("my.ini"), Run(findings, 1.0)),), matrix=Matrix(names, rows))


def past() -> History:
    """Sixty runs: one figure got worse, one has gaps, one fell where that is bad, one is new."""
    chance = random.Random(1)
    values = [chance.gauss(10, 0.5) * (3 if run > 55 else 1) for run in range(60)]
    return History(
        times(60),
        {
            Figure("my.ini", "STO001", "/", "p99_ms"): values,
            Figure("my.ini", "STO001", "/", "p50_ms"): [*[1.0] * 20, *[NAN] * 9, *[1.0] * 30, NAN],
            Figure("my.ini", "STO004", HOSTILE, "free_gb"): [*[100.0] * 57, 20.0, 20.0, 20.0],
            Figure("my.ini", "MEM001", "", "used_mb"): [*[1.0] * 57, 20.0, 20.0, 20.0],
            Figure("my.ini", "load", "SQLite", "requests_per_s", "with 2 workers"): [
                *[NAN] * 59,
                9.0,
            ],
        },
        75,
        ("1 run of the history cannot be read, and is a gap: x.json",),
    )


def test_what_got_worse_is_listed_first_with_what_was_compared() -> None:
    section = trends_section.section(past(), results(), {"STO001": "Syncing to disk"})
    assert section.runs.startswith("The newest 60 of 75 runs, from 2026-09-29")
    assert [one.mark for one in section.notable] == ["worse", "changed"]
    worse, changed = (one.text for one in section.notable)
    assert worse.startswith("/, p99, ms (STO001, my.ini): worse since 2026-11-24 12:30: ")
    assert "changed since 2026-11-25 12:30: 20 GB instead of 100 GB" in changed
    assert section.verdict == (
        "Of 5 figures, 4 were measured in two runs or more: 1 got worse, 0 got better, 2 changed. "
        "Not measured in the last run: 1."
    )
    shown = {trend.name: trend for group in section.groups for trend in group.trends}
    assert shown["/, p50, ms"].measured == "measured in 50 of 60 runs, last on 2026-11-26 12:30"
    assert shown["/, p50, ms"].values == "always 1 ms"
    assert shown["SQLite, requests with 2 workers, /s"].measured == "measured in 1 of 60 runs"
    assert [group.title for group in section.groups][0] == "STO001: Syncing to disk"


def test_a_name_that_is_not_utf_8_has_its_trend_and_its_grade() -> None:
    found = Finding(Severity.error, "", "caf\udce9", {"free_gb": 3.0}, check="STO004")
    now = Results((PlacedRun(Place("\udce9.ini"), Run([found], 1.0, checks=("STO004",))),))
    (figure,) = trends.figures(saved_run.parse(saved_run.document(now)))
    section = trends_section.section(History(times(2), {figure: [9.0, 3.0]}, 2), now, {})
    assert [one.mark for one in section.notable] == ["changed"]
    assert "\udce9" not in section.notable[0].text


def test_a_page_has_a_bounded_number_of_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trends_section, "FIGURES", 2)
    monkeypatch.setattr(trends_section, "LISTED", 1)
    section = trends_section.section(past(), results(), {})
    names = {trend.name for group in section.groups for trend in group.trends}
    assert len(names) == 2 and "/, p99, ms" in names
    assert [one.mark for one in section.notable] == ["worse"]
    assert section.notes[1:] == (
        "2 of 5 figures are shown, those that changed first",
        "1 of 2 notable figures are listed; all are marked",
    )


def test_a_page_without_runs_has_no_trends() -> None:
    assert 'id="trends"' not in html.page(results(), WHEN, History((), {}, 0))
    assert 'id="trends"' not in html.page(results(), WHEN)


@pytest.mark.once
def test_a_browser_shows_the_trends_at_every_width_in_both_schemes_and_on_paper(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(html.page(results(), WHEN, past()))
    for scheme in ("light", "dark"):
        for width in (360, 800, 1400):
            browser.look(width, scheme)
            browser.open(f"file://{page}")
            browser.screenshot(tmp_path / f"{scheme}-{width}.png")
            assert browser.failures() == []
            assert browser.run("return document.documentElement.scrollWidth") <= width
            assert browser.run(OUTSIDE, "svg, figcaption, .trend p", "figure.trend") == 0
    assert browser.run("return document.scripts.length") == 0
    links = "return [...document.querySelectorAll('#trends-notable a')].map(a => a.hash)"
    for anchor in browser.run(links):
        assert browser.run("return document.querySelector(arguments[0]).tagName", anchor)
    said = browser.accessible("svg[role=img]")
    assert said["name"]["value"] == "/, p99, ms"
    assert "measured in 60 of 60 runs. worse since" in said["description"]["value"]
    browser.on_paper(700)
    # What would have to be scrolled is cut off there.
    assert browser.run(OUTSIDE, "td, th, svg, pre, p", "body") == 0


OUTSIDE = """
return [...document.querySelectorAll(arguments[0])].filter(inner => {
  const outer = inner.closest(arguments[1]).getBoundingClientRect();
  return inner.getBoundingClientRect().right > outer.right + 1;
}).length"""
