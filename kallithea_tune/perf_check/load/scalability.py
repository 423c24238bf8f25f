"""How throughput grows with workers: the universal scalability law, with the error of its fit.

Gunther, Guerrilla Capacity Planning, chapter 4: X(N) = aN / (1 + s(N - 1) + kN(N - 1)), where a is
what one worker serves, s the part of the work for which workers wait for each other, and k what it
costs each pair of them to agree.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import Optional, Sequence

from kallithea_tune.perf_check.results import Band, Curve, Level
from kallithea_tune.text import counted, figure

# codahale/usl and Gunther require as many; three parameters leave nothing to see of the error of
# three levels.
FEWEST_LEVELS = 6
FEWEST_REPEATS = 2
RESAMPLES = 1000
PARAMETERS = 3
# Above the first part of a processor, the generator takes from the workers what it is to measure;
# above the second, it is a limit as much as they are: our judgement.
NOTABLE_GENERATOR, BUSY_GENERATOR = 0.25, 0.8

Points = Sequence["tuple[int, float]"]


@dataclass(frozen=True)
class Law:
    """The law as N/X = `alone` + `waiting` (N - 1) + `agreeing` N(N - 1), in seconds per request.

    None is negative: a second worker does not speed up the first.
    """

    alone: float
    waiting: float
    agreeing: float

    def throughput(self, workers: int) -> float:
        """Return the requests per second of so many workers."""
        return workers / sum(map(_product, _terms(workers), self._all))

    @property
    def _all(self) -> tuple[float, ...]:
        return self.alone, self.waiting, self.agreeing


def fitted(curve: Curve) -> Curve:
    """Return the curve with its bands, its peak if that was passed, and notes on what is missing.

    Levels and repeats that are too few for an error of the fit leave the curve without bands.
    """
    levels = sorted(curve.levels, key=lambda level: level.workers)
    curve = replace(curve, levels=tuple(levels), notes=(*curve.notes, *_doubts(levels)))
    lacking = _lacking(levels)
    if lacking:
        return replace(curve, notes=(*curve.notes, f"no law was fitted: {lacking}"))
    points = [(level.workers, rate) for level in levels for rate in level.requests_s if rate > 0]
    law = fit(points)
    likely = resampled(law, points)
    bands = tuple(
        _band(law, likely, workers) for workers in range(levels[0].workers, levels[-1].workers + 1)
    )
    peak, note = _peak(bands, likely)
    return replace(curve, bands=bands, peak=peak, notes=(*curve.notes, note))


def fit(points: Points) -> Law:
    """Return the law with the least squares of relative errors.

    N/X is linear in the three parameters, so that the best without a negative one is found among
    the solutions for each selection of them. Raises ValueError for fewer than three different
    numbers of workers.
    """
    if len({workers for workers, _ in points}) < PARAMETERS:
        raise ValueError("the law has three parameters")
    solutions = [
        solution
        for size in range(1, PARAMETERS + 1)
        for chosen in itertools.combinations(range(PARAMETERS), size)
        for solution in [_solved(points, chosen)]
        if solution and solution[0] > 0 and min(solution) >= 0
    ]
    return Law(*min(solutions, key=lambda solution: _squares(points, solution)))


def resampled(law: Law, points: Points, seed: int = 1) -> Sequence[Law]:
    """Return laws as likely as `law`: fitted to it with the relative errors of others of `points`.

    Davison and Hinkley, Bootstrap Methods and their Application, section 6.3 (model-based
    resampling). Errors are widened by what three parameters took of them, and by how much Student's
    distribution is wider than the normal one at 95 %: (z^2 + 1) / 4 per degree of freedom.
    """
    chance = random.Random(seed)
    freedom = len(points) - PARAMETERS
    widened = (len(points) / freedom) ** 0.5 * (1 + 1.21 / freedom)
    errors = [(rate / law.throughput(workers) - 1) * widened for workers, rate in points]
    mean = sum(errors) / len(errors)
    errors = [max(error - mean, -0.9) for error in errors]
    return [
        fit([(n, law.throughput(n) * (1 + chance.choice(errors))) for n, _ in points])
        for _ in range(RESAMPLES)
    ]


def _terms(workers: int) -> tuple[float, ...]:
    return 1.0, workers - 1.0, workers * (workers - 1.0)


def _product(first: float, second: float) -> float:
    return first * second


def _squares(points: Points, parameters: Sequence[float]) -> float:
    return sum(
        (sum(map(_product, _terms(workers), parameters)) * rate / workers - 1) ** 2
        for workers, rate in points
    )


def _solved(points: Points, chosen: Sequence[int]) -> Optional[list[float]]:
    """Return the parameters with the least squares where all but the `chosen` are 0."""
    rows = [[_terms(workers)[item] * rate / workers for item in chosen] for workers, rate in points]
    matrix = [
        [sum(row[i] * row[j] for row in rows) for j in range(len(chosen))]
        + [sum(row[i] for row in rows)]
        for i in range(len(chosen))
    ]
    for pivot, line in enumerate(matrix):
        if abs(line[pivot]) < 1e-12:
            return None
        for other in matrix:
            if other is not line:
                factor = other[pivot] / line[pivot]
                other[:] = [value - factor * ours for value, ours in zip(other, line)]
    parameters = [0.0] * PARAMETERS
    for place, item in enumerate(chosen):
        parameters[item] = matrix[place][-1] / matrix[place][place]
    return parameters


def _band(law: Law, likely: Sequence[Law], workers: int) -> Band:
    ranked = sorted(one.throughput(workers) for one in likely)
    estimate = law.throughput(workers)
    low, high = ranked[int(len(ranked) * 0.025)], ranked[int(len(ranked) * 0.975) - 1]
    return Band(workers, min(low, estimate), estimate, max(high, estimate))


def _peak(bands: Sequence[Band], likely: Sequence[Law]) -> tuple[int, str]:
    """Return the peak and what to say of it.

    It is 0 unless nearly all `likely` laws fall before the last level, to a band below the peak.
    """
    numbers = [band.workers for band in bands]
    last = numbers[-1]
    top = max(bands, key=lambda band: band.estimate)
    peaks = sorted(max(numbers, key=law.throughput) for law in likely)
    if peaks[int(len(peaks) * 0.975) - 1] >= last or bands[-1].high >= top.estimate:
        note = f"no peak was passed up to {counted(last, 'worker')}; nothing is known beyond that"
        return 0, note
    low, high = peaks[int(len(peaks) * 0.025)], peaks[int(len(peaks) * 0.975) - 1]
    between = f"{low}" if low == high else f"{low} to {high}"
    at = counted(top.workers, "worker")
    return top.workers, f"throughput is highest at {at} (95 %: {between})"


def _lacking(levels: Sequence[Level]) -> str:
    numbers = {level.workers for level in levels if any(rate > 0 for rate in level.requests_s)}
    if len(numbers) < FEWEST_LEVELS:
        return f"{counted(len(numbers), 'level')} of {FEWEST_LEVELS} answered"
    if any(len(level.requests_s) < FEWEST_REPEATS for level in levels):
        return "a level was not repeated"
    return ""


def _doubts(levels: Sequence[Level]) -> list[str]:
    """Return what makes the figures worth less than they look."""
    notes = []
    for level in levels:
        at = f"at {counted(level.workers, 'worker')}"
        if level.errors:
            notes.append(f"{at} {level.errors:,} of {counted(level.requests, 'request')} failed")
    busiest = max(levels, key=lambda level: level.generator_cpu, default=None)
    if busiest and busiest.generator_cpu > NOTABLE_GENERATOR:
        meaning = (
            "it may be what was measured"
            if busiest.generator_cpu > BUSY_GENERATOR
            else "with a generator elsewhere, the workers would do more"
        )
        notes.append(
            f"the generator with its hg and git used {figure(busiest.generator_cpu)} of a "
            f"processor of this machine at {counted(busiest.workers, 'worker')}: {meaning}"
        )
    return notes
