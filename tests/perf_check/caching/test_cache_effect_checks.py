"""What the cache saves and loses, judged by tables, and measured on the real application."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import beaker_tools
import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.caching import cache_effect as probe
from kallithea_tune.perf_check.caching import cache_effect_checks
from kallithea_tune.perf_check.caching.beaker_files import Namespace
from kallithea_tune.perf_check.caching.cache_effect import Effect
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.statistics import Interval


@pytest.mark.parametrize(
    "saved, lost, severity, said, impact",
    [
        (
            (10, 12, 14),
            (-1, 1, 3),
            Severity.ok,
            "the cache saves a README view 12 ms (10 to 14)",
            -12,
        ),
        ((10, 12, 14), (5, 8, 9), Severity.ok, "saves a README view 12 ms", -12),
        (
            (10, 12, 14),
            (15, 36, 40),
            Severity.advice,
            "a hit saves 12 ms, a miss loses 36: needs 75 % hits",
            36,
        ),
        (
            (-1, 1, 3),
            (-1, 1, 3),
            Severity.ok,
            "no measurable effect of the cache on a README view: -1 to 3 ms",
            None,
        ),
        ((-1, 1, 3), (0.1, 0.2, 0.3), Severity.ok, "no measurable effect", None),
        (
            (-1, 1, 3),
            (60, 80, 99),
            Severity.advice,
            "no gain for a README view; a miss costs 80 ms (60 to 99)",
            80,
        ),
        (
            (-9, -7, -5),
            (60, 80, 99),
            Severity.warning,
            "a README view from the cache is 7 ms slower (5 to 9)",
            7,
        ),
    ],
)
def test_an_effect_is_judged_by_both_intervals(
    saved: tuple[float, float, float],
    lost: tuple[float, float, float],
    severity: Severity,
    said: str,
    impact: Optional[float],
) -> None:
    found = cache_effect_checks.judge_effect(
        "README", "long", Effect(1, 1, 1, Interval(*saved), Interval(*lost), 9)
    )
    assert found.severity is severity and said in found.diagnosis and found.impact_ms == impact
    assert bool(found.remedy) == (severity > Severity.ok) and found.confidence == "high"


def feeds(entries: int, with_revision: int) -> Namespace:
    return Namespace("/d/cache/x", "/d/cache", 9, entries, 0, with_revision, "_f", True)


@pytest.mark.parametrize(
    "kept, expire, severity",
    [
        (None, 604800, Severity.ok),
        (feeds(0, 0), 604800, Severity.ok),
        (feeds(3, 0), 3600, Severity.ok),
        (feeds(3, 3), 604800, Severity.ok),
        (feeds(3, 2), 3601, Severity.warning),
        (feeds(3, 0), None, Severity.warning),
    ],
)
def test_feeds_are_late_where_a_key_has_no_revision(
    kept: Optional[Namespace], expire: Optional[int], severity: Severity
) -> None:
    assert cache_effect_checks.judge_feed_key(kept, expire, "long").severity is severity


def findings(gearbox: Callable[..., Any], ini: Path, name: str) -> dict[str, Mapping[str, Any]]:
    said = gearbox("perf-check", "-c", ini, "--only", name, "-f", "json", cwd=str(ini.parent))
    assert said.returncode in (0, 1, 5), said.stderr
    return {item["subject"]: item for item in json.loads(said.stdout)}


def test_a_readme_and_a_feed_are_asked_for(visited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MOST", 5)
    context = Context(load(str(visited)), Deadline(120))
    readme, feed = cache_effect_checks.effect.findings(context)
    assert (readme.subject, feed.subject) == ("README view", "feed request")
    for found in (readme, feed):
        seen = found.evidence
        assert seen["rounds"] == 5 and found.confidence == "high"
        assert seen["saved_from_ms"] <= seen["saved_ms"] <= seen["saved_to_ms"]
        assert min(seen["off_ms"], seen["warm_ms"], seen["cold_ms"]) > 0


def test_what_there_was_no_time_for_is_not_measured(
    visited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = probe.measure
    monkeypatch.setattr(
        probe, "measure", lambda *given: [answers[: 4 * 3 + 2] for answers in measure(*given)]
    )
    monkeypatch.setattr(probe, "MOST", 5)
    found = list(cache_effect_checks.effect.findings(Context(load(str(visited)), Deadline(120))))
    assert [(item.severity, item.diagnosis) for item in found] == [
        (Severity.unknown, "not measured: there was time for 4 of 5 rounds")
    ] * 2


def test_a_feed_misses_what_was_pushed_since_it_was_cached_and_the_check_knows(
    visited: Path, instance: Path, gearbox: Callable[..., Any], edit: Callable[..., None]
) -> None:
    assert findings(gearbox, instance, "CAC006")[""]["evidence"] == {"feeds_cached": 0}
    beaker_tools.take_data(visited, instance)
    assert findings(gearbox, instance, "CAC006")[""]["severity"] == "warning"
    edit(instance, "long_term_file.expire = 604800", "long_term_file.expire = 3600")
    assert findings(gearbox, instance, "CAC006")[""]["severity"] == "ok"


@pytest.mark.parametrize(
    "statement, said",
    [
        ("DELETE FROM repositories", "no repository to request"),
        ("DROP TABLE repositories", "not measured"),
    ],
)
def test_where_there_is_nothing_to_ask_for_the_reason_is_given(
    instance: Path, gearbox: Callable[..., Any], statement: str, said: str
) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute(statement)
    connection.close()
    (found,) = findings(gearbox, instance, "CAC002").values()
    assert found["severity"] == "unknown" and said in found["diagnosis"]


def test_a_cache_that_is_off_is_not_measured_but_one_elsewhere_is_said(
    instance: Path, gearbox: Callable[..., Any], edit: Callable[..., None]
) -> None:
    edit(instance, "long_term_file.type = file", "long_term_file.type = ext:memcached")
    (found,) = findings(gearbox, instance, "CAC002").values()
    assert "cache of type ext:memcached" in found["diagnosis"]
    edit(
        instance,
        "long_term_file.expire",
        "long_term_file.enabled = false\nbeaker.cache.long_term_file.expire",
    )
    assert findings(gearbox, instance, "CAC002") == {}
