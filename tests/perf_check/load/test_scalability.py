"""The law of scalability: what it gives back, how sure it is, and what it does not say."""

import random

import pytest

from kallithea_tune.perf_check.load import scalability
from kallithea_tune.perf_check.load.scalability import Law, fit, fitted
from kallithea_tune.perf_check.results import Curve, Level

BEFORE_PEAK, PAST_PEAK = (1, 2, 3, 4, 5, 6), (1, 2, 4, 6, 8, 12, 16)
# The most at 10 workers.
LAW = Law(alone=0.4, waiting=0.02, agreeing=0.004)


def level(workers, rates, latencies=(), errors=0, generator_cpu=0.1):
    return Level(workers, tuple(rates), tuple(latencies), 100, errors, generator_cpu)


def curve(levels, law=LAW, noise=0.03, seed=1, repeats=3):
    chance = random.Random(seed)
    return Curve(
        "SQLite",
        tuple(
            level(n, [law.throughput(n) * chance.gauss(1, noise) for _ in range(repeats)])
            for n in levels
        ),
    )


@pytest.mark.parametrize(
    "law",
    [LAW, Law(0.1, 0.0, 0.0), Law(0.1, 0.05, 0.0), Law(0.1, 0.0, 0.05)],
    ids=["all", "linear", "waiting", "agreeing"],
)
def test_law_without_noise_is_given_back(law):
    found = fit([(n, law.throughput(n)) for n in BEFORE_PEAK])
    assert found == Law(*(pytest.approx(value, abs=1e-9) for value in vars(law).values()))


def test_parameter_is_never_negative():
    # Eight workers serve more than eight times as much as one.
    found = fit([(1, 1.0), (2, 2.2), (4, 5.0), (8, 12.0)])
    assert min(vars(found).values()) >= 0 and found.waiting == found.agreeing == 0


def test_two_levels_are_no_law():
    with pytest.raises(ValueError, match="three parameters"):
        fit([(1, 1.0), (2, 1.5)] * 3)


def test_bands_end_with_the_largest_level_and_have_the_truth_inside(monkeypatch):
    monkeypatch.setattr(scalability, "RESAMPLES", 100)
    inside = total = 0
    for seed in range(15):
        bands = fitted(curve(BEFORE_PEAK, noise=0.1, seed=seed)).bands
        assert [band.workers for band in bands] == list(range(1, 7))
        for band in bands:
            assert band.low <= band.estimate <= band.high
            inside += band.low <= LAW.throughput(band.workers) <= band.high
            total += 1
    # 95 % are meant; neighbours in a curve stand and fall together.
    assert inside / total > 0.85


def test_bands_are_wider_where_repeats_differ_more():
    quiet, noisy = (fitted(curve(BEFORE_PEAK, noise=noise)).bands[-1] for noise in (0.02, 0.1))
    assert noisy.high - noisy.low > 2 * (quiet.high - quiet.low)


def test_peak_that_was_passed_is_named_with_its_range():
    found = fitted(curve(PAST_PEAK))
    assert found.peak in (9, 10, 11)
    assert "throughput is highest at" in found.notes[-1] and "95 %" in found.notes[-1]


def test_peak_that_was_not_passed_is_not_named():
    found = fitted(curve(BEFORE_PEAK))
    assert found.peak == 0
    assert found.notes == ("no peak was passed up to 6 workers; nothing is known beyond that",)


def test_peak_that_noise_may_have_made_is_not_named(monkeypatch):
    # The most is at 6 workers of 6: some fits have their peak before, by chance.
    monkeypatch.setattr(scalability, "RESAMPLES", 100)
    flat = Law(0.4, 0.1, 0.0083)
    found = [fitted(curve(BEFORE_PEAK, flat, 0.1, seed)) for seed in range(10)]
    ends = [max(one.bands, key=lambda band: band.estimate).workers for one in found]
    assert any(end < 6 for end in ends)
    assert not any(one.peak for one in found)


@pytest.mark.parametrize(
    ("levels", "repeats", "reason"),
    [
        ((1, 2, 3, 4, 5), 3, "no law was fitted: 5 levels of 6 answered"),
        (BEFORE_PEAK, 1, "no law was fitted: a level was not repeated"),
    ],
    ids=["levels", "repeats"],
)
def test_too_little_has_no_bands(levels, repeats, reason):
    found = fitted(curve(levels, repeats=repeats))
    assert (found.bands, found.peak, found.notes) == ((), 0, (reason,))


def test_nothing_measured_is_no_law():
    assert fitted(Curve("SQLite", ())).notes == ("no law was fitted: 0 levels of 6 answered",)


def test_failures_and_a_busy_generator_are_said():
    levels = [level(n, [n, n]) for n in range(1, 6)]
    levels.append(level(6, [6, 6], errors=3, generator_cpu=0.93))
    notes = fitted(Curve("SQLite", tuple(levels))).notes
    assert notes[0] == "at 6 workers 3 of 100 requests failed"
    used = "the generator with its hg and git used {} of a processor of this machine at 6 workers: "
    assert notes[1] == used.format(0.93) + "it may be what was measured"
    levels[-1] = level(6, [6, 6], generator_cpu=0.31)
    (note, _) = fitted(Curve("SQLite", tuple(levels))).notes
    assert note == used.format(0.31) + "with a generator elsewhere, the workers would do more"


def test_same_repeats_have_the_same_bands():
    assert fitted(curve(BEFORE_PEAK)) == fitted(curve(BEFORE_PEAK))
