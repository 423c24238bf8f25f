from __future__ import annotations

import collections

import pytest

from kallithea_tune.perf_check.load.mix import DECK, SHARES, Kind, deck, mix_of
from kallithea_tune.perf_check.load.run import levels_for

BOTH = {"hg": "one", "git": "two"}


def test_all_shares_are_one_and_each_kind_is_sent() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
    assert set(deck(mix_of(BOTH))) == set(Kind)


def test_a_deck_has_the_shares_and_always_the_same_order() -> None:
    cards = deck(mix_of(BOTH))
    counts = collections.Counter(cards)
    assert {kind: counts[kind] / DECK for kind in Kind} == SHARES
    assert deck(mix_of(BOTH)) == cards and list(cards) != sorted(cards, key=list(Kind).index)


def test_clones_are_as_in_the_log_of_actions_and_pages_are_not() -> None:
    mix = mix_of(BOTH, {"hg": 30, "git": 10})
    assert mix.shares[Kind.hg] == pytest.approx(0.075)
    assert mix.shares[Kind.git] == pytest.approx(0.025)
    assert mix.shares[Kind.summary] == SHARES[Kind.summary]
    assert "clones as in the log" in mix.source


def test_a_rare_kind_is_sent_nevertheless() -> None:
    mix = mix_of(BOTH).with_counts({Kind.summary: 9999, Kind.hg: 1}, "an access log")
    assert deck(mix).count(Kind.hg) == 1
    assert mix.source == "an access log" and "summary 100 %" in mix.text


@pytest.mark.parametrize(
    "repositories, absent",
    [
        ({"hg": "one"}, {Kind.git}),
        ({"git": "two"}, {Kind.hg}),
        ({}, set(Kind) - {Kind.front}),
    ],
    ids=["hg", "git", "none"],
)
def test_nothing_is_sent_for_repositories_that_are_not_there(
    repositories: dict[str, str], absent: set[Kind]
) -> None:
    shares = mix_of(repositories).shares
    assert set(shares) == set(Kind) - absent
    assert sum(shares.values()) == pytest.approx(1)


def test_levels_are_six_and_pass_one_process_for_each_core() -> None:
    assert levels_for(1) == levels_for(2) == (1, 2, 3, 4, 6, 8)
    for cores in (4, 8):
        levels = levels_for(cores)
        assert len(levels) >= 6 and max(levels) > 2 * cores
        assert list(levels) == sorted(set(levels))
    assert max(levels_for(500)) <= 32
