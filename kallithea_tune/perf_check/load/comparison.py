"""Whether one curve shows more throughput than another: two databases, or threads and processes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Optional, Sequence

from kallithea_tune.perf_check.results import Curve, Level
from kallithea_tune.text import counted, figure, percentage

RESAMPLES = 2000
# Each repeat of one side is set beside that of the other that was made next to it, if levels are
# measured in turns; fewer show nothing at 95 %.
FEWEST_REPEATS = 3


@dataclass(frozen=True)
class Difference:
    """How much more the second subject serves than the first, as a part of it, with 95 % limits.

    All levels that both have count alike. None of the limits is known where repeats are too few.
    """

    first: str
    second: str
    levels: int
    low: float
    estimate: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether there is a difference: the limits lie on one side of none."""
        return self.low > 0 or self.high < 0


def difference(first: Curve, second: Curve, seed: int = 1) -> Optional[Difference]:
    """Return the mean difference over the levels that both curves have; None for too few repeats.

    Repeats are resampled within each level (bootstrap, Efron and Tibshirani, chapter 8).
    """
    by_workers = {level.workers: level for level in second.levels}
    pairs = [(one, by_workers[one.workers]) for one in first.levels if one.workers in by_workers]
    enough = [pair for pair in pairs if min(map(_repeats, pair)) >= FEWEST_REPEATS]
    if not enough:
        return None
    chance = random.Random(seed)
    likely = sorted(
        _mean([_ratio(_resampled(one, chance), _resampled(other, chance)) for one, other in enough])
        for _ in range(RESAMPLES)
    )
    estimate = _mean([_ratio(one.requests_s, other.requests_s) for one, other in enough])
    low, high = likely[int(RESAMPLES * 0.025)], likely[int(RESAMPLES * 0.975) - 1]
    return Difference(first.subject, second.subject, len(enough), low, estimate, high)


def text(found: Difference) -> str:
    """Return a sentence for the report, for no difference shown as well."""
    limits = f"95 %: {percentage(found.low, '+')} to {percentage(found.high, '+')}"
    over = f"over {counted(found.levels, 'level')}"
    if not found.shown:
        return f"no difference between {found.first} and {found.second} was shown {over} ({limits})"
    word = "more" if found.estimate > 0 else "fewer"
    amount = percentage(abs(found.estimate))
    return f"{found.second} served {amount} {word} requests than {found.first} {over} ({limits})"


def threads_note(processes: Curve, threads: Curve) -> str:
    """Return what threads of one process served beside one process, and how many answers were
    wrong; empty where one of them was not measured.
    """
    one = next((level for level in processes.levels if level.workers == 1), None)
    most = max(threads.levels, key=_best, default=None)
    if not one or not most or not one.requests_s:
        return ""
    requests = sum(level.requests for level in threads.levels)
    errors = sum(level.errors for level in threads.levels)
    gain = min(most.requests_s, default=0.0) > max(one.requests_s)
    word = "more than" if gain else "no more than"
    return (
        f"{counted(most.workers, 'thread')} served up to {figure(_best(most))} requests/s, {word} "
        f"one process alone ({figure(_best(one))}); {errors:,} of {requests:,} answers were wrong. "
        "Kallithea's documentation says not to use threads, and WEB001 stays an error whatever is "
        "measured here"
    )


def _best(level: Level) -> float:
    return max(level.requests_s, default=0.0)


def _repeats(level: Level) -> int:
    return sum(rate > 0 for rate in level.requests_s)


def _resampled(level: Level, chance: random.Random) -> Sequence[float]:
    rates = [rate for rate in level.requests_s if rate > 0]
    # Of so few repeats, resampling shows less variance than they have.
    widened = (len(rates) / (len(rates) - 1)) ** 0.5
    mean = _mean(rates)
    return [mean + (rate - mean) * widened for rate in chance.choices(rates, k=len(rates))]


def _ratio(first: Sequence[float], second: Sequence[float]) -> float:
    return _mean(second) / _mean(first) - 1


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
