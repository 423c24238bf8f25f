"""Curves of throughput as text."""

from __future__ import annotations

import statistics
from typing import Iterator, Optional, TextIO

from kallithea_tune.perf_check.results import Band, Curve, Level
from kallithea_tune.text import figure, percentage, printable, wrapped

HEADINGS = ("workers", "requests/s", "law (95 %)", "p50 ms", "p95 ms", "p99 ms", "failed", "CPU")

PERCENTILES = (0.50, 0.95, 0.99)
LABEL = (
    "law (95 %): the limits of the fitted scalability law; in simulations with noise of 10 % the "
    "truth was within them in 90 to 94 of 100"
)


def write(curve: Curve, stream: TextIO) -> None:
    """Write a table with a line per level, then the notes; CPU is that of the generator."""
    print(f"\n{printable(curve.subject)}", file=stream)
    rows = [HEADINGS, *rows_of(curve)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(value.rjust(width) for value, width in zip(row, widths)), file=stream)
    for note in (*([LABEL] if curve.bands else []), *curve.notes):
        print("\n".join(wrapped("Note: ", printable(note), 4)), file=stream)


def rows_of(curve: Curve) -> Iterator[tuple[str, ...]]:
    """Yield the values of each level under `HEADINGS`."""
    bands = {band.workers: band for band in curve.bands}
    for level in curve.levels:
        yield (
            str(level.workers),
            _range(level),
            _band(bands.get(level.workers)),
            *(percentile(level, part) for part in PERCENTILES),
            f"{level.errors:,} of {level.requests:,}",
            percentage(level.generator_cpu),
        )


def percentile(level: Level, part: float) -> str:
    """Return the latency in ms that `part` of all are below; a dash for too few to say so."""
    found = _percentile_ms(level, part)
    return "-" if found is None else figure(found)


def _percentile_ms(level: Level, part: float) -> Optional[float]:
    latencies = sorted(level.latencies_ms)
    if len(latencies) * (1 - part) < 1:
        return None
    return latencies[min(len(latencies) - 1, int(len(latencies) * part))]


def figures_of(level: Level) -> dict[str, float]:
    """Return what a level says in a few numbers: the median of its repeats, its percentiles."""
    found = {f"p{part * 100:.0f}_ms": _percentile_ms(level, part) for part in PERCENTILES}
    if level.requests_s:
        found["requests_per_s"] = statistics.median(level.requests_s)
    found["errors"] = float(level.errors)
    return {name: value for name, value in found.items() if value is not None}


def _range(level: Level) -> str:
    if not level.requests_s:
        return "-"
    low, high = min(level.requests_s), max(level.requests_s)
    return figure(low) if low == high else f"{figure(low)} to {figure(high)}"


def _band(band: Optional[Band]) -> str:
    return f"{figure(band.low)} to {figure(band.high)}" if band else "-"
