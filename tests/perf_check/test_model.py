"""What a check is, and who may add one."""

from __future__ import annotations

import pytest

from kallithea_tune.perf_check.measurement import configuration
from kallithea_tune.perf_check.model import AREAS, Finding, Severity, all_checks, check, graded
from kallithea_tune.system.busyness import Others, Part


@check(
    "ABC001", "some-slug", "A title", "some-area", measures=(configuration,), tags=("blue", "round")
)
def toy(configuration):
    """Look at nothing."""
    return ()


@pytest.mark.parametrize(
    "pattern, matches",
    [
        ("ABC001", True),
        ("abc001", True),
        ("ABC*", True),
        ("ABC00[12]", True),
        ("some-slug", True),
        ("some-*", True),
        ("some-area", True),
        ("blue", True),
        ("ABC", False),
        ("ABC002", False),
        ("title", False),
        ("", False),
    ],
)
def test_a_pattern_matches_an_id_a_slug_an_area_or_a_tag(pattern, matches):
    assert toy.matches(pattern) is matches


def test_every_check_says_what_it_is():
    checks = all_checks()
    assert [item.id for item in checks] == sorted({item.id for item in checks})
    assert len({item.slug for item in checks}) == len(checks)
    for item in checks:
        assert item.area in AREAS and item.title and item.judge.__doc__
        assert item.probes == (item.seconds > 0)
        assert not item.writes or item.probes, (
            f"{item.id} writes, but does not say how long it takes"
        )


BUSY = Others(cpu=1.0, running=8, cpus=2)
CPU = {Part.cpu}


@pytest.mark.parametrize(
    ("severity", "excess", "impact", "graded_as"),
    [
        # Without the others it would be within the threshold.
        (Severity.error, 4.0, 100.0, Severity.advice),
        (Severity.error, 5.0, 100.0, Severity.error),
        # Nobody knows.
        (Severity.warning, None, 100.0, Severity.advice),
        (Severity.ok, None, 100.0, Severity.ok),
        # No latency.
        (Severity.error, None, None, Severity.error),
    ],
)
def test_a_latency_is_judged_by_what_is_ours(
    severity: Severity, excess: "float | None", impact: "float | None", graded_as: Severity
) -> None:
    finding = Finding(severity, "slow", impact_ms=impact, excess=excess)
    found = graded(finding, BUSY, CPU)
    assert found.severity is graded_as
    assert ("on a busy machine" in found.diagnosis) == (graded_as is Severity.advice)
    assert (found.confidence == "low") == (graded_as is Severity.advice)
    assert ("others_used" in found.evidence) == (impact is not None)
    assert graded(finding, Others(cpu=1.0, running=1, cpus=2), CPU) is finding
    assert graded(finding, BUSY, {Part.disk}) is finding


@pytest.mark.parametrize(
    "ms, said",
    [
        (None, ""),
        (146.4, "+146 ms per view"),
        (0.25, "+0.25 ms per view"),
        (-13.0, "-13 ms per view"),
        (1e4, "+10000 ms per view"),
    ],
)
def test_the_cost_is_told_in_the_users_terms(ms, said):
    assert Finding(Severity.ok, "", impact_ms=ms, impact_per="view").impact == said
