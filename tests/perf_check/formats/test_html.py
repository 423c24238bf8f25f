"""The report as a page, in a real browser: at every width, light and dark, with hostile names."""

from __future__ import annotations

import dataclasses
import datetime
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from servers.browser import Browser

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor
from kallithea_tune.errors import Refused
from kallithea_tune.perf_check.formats import html
from kallithea_tune.perf_check.load import scalability
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Command
from kallithea_tune.perf_check.results import (
    Curve,
    Level,
    Matrix,
    Place,
    PlacedRun,
    Results,
    Row,
    Rule,
    Silent,
)
from kallithea_tune.perf_check.runner import Run

WHEN = datetime.datetime(2026, 11, 27, 12, 30)
HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\"'&\x1b[2J"


def findings() -> "list[Finding]":
    command = Command(("find", HOSTILE, "-delete"), directory="/srv/kallithea")
    return [
        Finding(
            Severity.error,
            f"{HOSTILE} cannot be read",
            HOSTILE,
            {"path": HOSTILE, "p99_ms": 12.5},
            "it is readable",
            "our judgement",
            command,
            check="REPO001",
            area="repositories",
        ),
        Finding(
            Severity.warning,
            "pages are slow",
            check="WEB005",
            area="serving",
            remedy="set threads = 5",
            impact_ms=146.0,
            impact_per="README view",
        ),
        Finding(Severity.unknown, "not measured: too late", check="STO001", area="storage"),
        Finding(Severity.ok, "fine", check="DB001", area="database"),
        Finding(Severity.error, "known", check="DB002", area="database", ignored="until the move"),
    ]


def curve() -> Curve:
    chance = random.Random(1)
    levels = tuple(
        Level(
            workers,
            tuple(10 * workers / (1 + 0.05 * workers**2) + chance.gauss(0, 0.4) for _ in range(3)),
            tuple(chance.lognormvariate(3, 0.6) for _ in range(2000)),
            2010,
            10,
            0.2,
        )
        for workers in (1, 2, 3, 4, 6, 8)
    )
    return scalability.fitted(Curve(f"processes {HOSTILE}", levels))


def results() -> Results:
    runs = (
        PlacedRun(Place("web1.ini"), Run(findings(), 3.0, [HOSTILE], ("REPO001", "WEB005"))),
        PlacedRun(Place("web1.ini", HOSTILE), Run(findings(), 3.0)),
    )
    rows = (
        Row("session.secret", ("A", "B"), Rule.must_be_equal, Severity.error, "SCA002"),
        Row("index_dir", ("/srv/" + "long/" * 30, HOSTILE), Rule.must_be_equal),
    )
    return Results(
        runs,
        (Silent(HOSTILE, "solo pool"),),
        Matrix(("web1.ini", "web2.ini"), rows),
        (curve(),),
        (f"worse: {HOSTILE}",),
    )


def instance(directory: Path) -> Instance:
    return Instance(str(directory / "my.ini"), "main", "", "", {}, {}, {}, Redactor())


@pytest.mark.once
def test_a_browser_shows_it_at_every_width_in_both_schemes(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    html.write(results(), html.place(str(path), instance(tmp_path)))
    shown = {}
    for scheme in ("light", "dark"):
        for width in (360, 800, 1400):
            browser.look(width, scheme)
            browser.open(f"file://{path}")
            browser.screenshot(tmp_path / f"{scheme}-{width}.png")
            # Nothing is requested, nothing is refused by the policy, nothing runs.
            assert browser.failures() == []
            assert browser.run("return document.documentElement.scrollWidth") <= width
            shown[scheme] = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert shown["light"] != shown["dark"]
    assert browser.run("return document.scripts.length + document.images.length") == 0
    assert browser.run("return document.querySelectorAll('article').length") == 8
    assert browser.run("return document.querySelectorAll('svg').length") == 2
    text = browser.run("return document.querySelector('article h3').textContent")
    assert "<script>alert(1)</script>" in text and "{{ 7*7 }}" in text


class Tags(HTMLParser):
    """Collects the attributes of all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: "list[tuple[str, str, str]]" = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: "list[tuple[str, str | None]]") -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def test_it_needs_nothing_from_elsewhere_and_its_anchors_are_unique_and_stable() -> None:
    page = html.page(results(), WHEN)
    assert html.page(results(), WHEN) == page and "\x1b" not in page
    tags = Tags(page)
    links = [value for _, name, value in tags.attributes if name in ("href", "src")]
    assert links and all(link.startswith(("#", "data:,")) for link in links)
    assert not re.search(r"url\(|@import|<script|<iframe", page)
    anchors = [value for _, name, value in tags.attributes if name == "id"]
    assert len(anchors) == len(set(anchors)) and "WEB005" in anchors
    assert {link[1:] for link in links if link.startswith("#")} <= set(anchors)


def test_what_was_not_examined_is_said_and_nothing_ignored_is_counted() -> None:
    page = html.page(results(), WHEN)
    assert "Left out: STO001: too late." in page and "solo pool" in page
    assert "Kept: until the move" in page
    (row,) = re.findall(r"<tr><td>database</td>.*", page)[:1]
    assert ">ok</td>" in row and "1 ok" in row


def test_several_findings_are_counted_in_the_plural() -> None:
    two = [Finding(Severity.warning, text, check="A", area="serving") for text in ("one", "two")]
    placed = PlacedRun(Place("my.ini"), Run(two, 1.0))
    page = html.page(dataclasses.replace(results(), runs=(placed,)), WHEN)
    assert "<td>2 warnings</td>" in page


def test_a_load_that_was_not_measured_is_on_the_page_with_its_reason() -> None:
    missing = Curve("threads", (), notes=("not measured: it does not start",))
    page = html.page(dataclasses.replace(results(), curves=(missing,)), WHEN)
    assert "Load: threads" in page and "not measured: it does not start" in page
    assert "<svg" not in page


def test_another_page_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text("<!DOCTYPE html>\n<p>mine</p>\n")
    with pytest.raises(Refused, match="is not a report that --html wrote"):
        html.place(str(path), instance(tmp_path))
