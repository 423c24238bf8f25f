"""What a check is, and who may add one."""

from __future__ import annotations

import pytest

from kallithea_tune.perf_check.measurement import configuration
from kallithea_tune.perf_check.model import AREAS, Finding, Severity, all_checks, check


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
