"""Runs that are saved, and what has changed since one of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Optional, Sequence, TextIO

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError
from kallithea_tune.perf_check.formats.curves import figures_of
from kallithea_tune.perf_check.model import Finding, Harm, Severity
from kallithea_tune.perf_check.report import COLUMNS, rows
from kallithea_tune.perf_check.results import Curve, Matrix, Place, Results
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.system import given_file, interruption, written_path
from kallithea_tune.system.written_path import Output
from kallithea_tune.text import figure, plain, wrapped

# How a document begins, and how it did before it had several places.
_HEADS = (b'{\n "format": 2,\n "runs": [', b'{\n "format": 1,\n "checks": [')
_TEXTS = (
    "check",
    "confidence",
    "area",
    "subject",
    "diagnosis",
    "impact_per",
    "threshold",
    "source",
    "remedy",
    "ignored",
)
_DIGITS = 300  # of a whole number, as a float may have; a million take Python 3.8 minutes


def _is_saved_run(head: bytes) -> bool:
    return head.startswith(_HEADS)


OUTPUT = Output("--save", "a run that --save wrote", _is_saved_run)


def place(path: str, instance: Instance) -> written_path.Place:
    """Return where `save` writes to. Raises as `examine`, before anything is measured."""
    return written_path.examine(path, OUTPUT, {"the ini file": instance.path})


def save(results: Results, place: written_path.Place) -> None:
    """Write a run as JSON, for a later `compare`: completely, or nothing. Raises as `write`."""
    interruption.check()
    written_path.write(place, document(results))


def document(results: Results) -> str:
    """Return what was found at each place, and under load, as JSON for `parse`."""
    runs = [
        {
            "instance": plain(item.place.instance),
            "machine": plain(item.place.machine),
            "checks": list(item.run.checks),
            "findings": [dict(zip(COLUMNS, row)) for row in rows(item.run.findings)],
        }
        for item in results.runs
    ]
    loads = [
        {"subject": plain(curve.subject), "workers": level.workers, "figures": figures_of(level)}
        for curve in results.curves
        for level in curve.levels
    ]
    content = {
        "format": 2,
        "runs": runs,
        "silent": [
            {name: plain(text) for name, text in vars(item).items()} for item in results.silent
        ],
        "matrix": _matrix(results.matrix) if results.matrix else None,
        "loads": loads,
        "curves": [_curve(curve) for curve in results.curves],
    }
    return json.dumps(content, indent=1) + "\n"


def _matrix(matrix: Matrix) -> dict[str, object]:
    rows = [
        {
            "setting": plain(row.setting),
            "values": [plain(value) for value in row.values],
            "rule": row.rule.value,
            "severity": row.severity.name,
            "check": row.check,
        }
        for row in matrix.rows
    ]
    return {"instances": [plain(name) for name in matrix.instances], "rows": rows}


def _curve(curve: Curve) -> dict[str, object]:
    levels = [
        {
            "workers": level.workers,
            "requests_s": list(level.requests_s),
            **figures_of(level),
            "requests": level.requests,
            "generator_cpu": level.generator_cpu,
        }
        for level in curve.levels
    ]
    return {
        "subject": plain(curve.subject),
        "levels": levels,
        "bands": [dict(vars(band)) for band in curve.bands],
        "peak": curve.peak,
        "notes": [plain(note) for note in curve.notes],
        "worker_bytes": curve.worker_bytes,
    }


@dataclass(frozen=True)
class SavedPlace:
    """What a run found at one place."""

    place: Place
    checks: frozenset[str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class SavedLoad:
    """What `figures_of` said of one number of workers."""

    subject: str
    workers: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class SavedResults:
    """What a document has."""

    places: tuple[SavedPlace, ...]
    loads: tuple[SavedLoad, ...] = ()


def parse(text: str) -> SavedResults:
    """Read what `document` returned, of one place at least. Raises ValueError for any other."""
    try:
        content = json.loads(text, parse_int=_whole)
        places = tuple(map(_place, content.get("runs", [content])))
        if not places:
            raise KeyError
        return SavedResults(places, tuple(map(_load, content.get("loads", ()))))
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError):
        raise ValueError("it is not a saved run") from None


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _place(item: Mapping[str, Any]) -> SavedPlace:
    return SavedPlace(
        Place(str(item.get("instance", "")), str(item.get("machine", ""))),
        frozenset(map(str, item["checks"])),
        tuple(map(_finding, item["findings"])),
    )


def _load(item: Mapping[str, Any]) -> SavedLoad:
    figures = {str(name): float(value) for name, value in item["figures"].items()}
    return SavedLoad(str(item["subject"]), int(item["workers"]), figures)


def _finding(item: Mapping[str, Any]) -> Finding:
    texts: dict[str, Any] = {name: str(item[name]) for name in _TEXTS if name in item}
    impact_ms = item.get("impact_ms")
    return Finding(
        severity=Severity[item["severity"]],
        evidence=dict(item.get("evidence", ())),
        impact_ms=None if impact_ms is None else float(impact_ms),
        harm=Harm[item.get("harm", Harm.housekeeping.name)],
        **texts,
    )


@dataclass(frozen=True)
class SavedRun:
    """A saved run: the ids of its checks, and its findings by check and subject."""

    checks: frozenset[str]
    findings: Mapping[tuple[str, str], Finding]

    def get(self, key: tuple[str, str]) -> Optional[Finding]:
        """Return the finding of a check about a subject, or why the check measured nothing."""
        unmeasured = self.findings.get((key[0], ""))
        if unmeasured and unmeasured.severity is not Severity.unknown:
            unmeasured = None
        return self.findings.get(key, unmeasured)


def read(path: str) -> SavedResults:
    """Read what `save` wrote. Raises ConfigError for any other file."""
    try:
        return parse(given_file.text(path))
    except OSError as error:
        raise ConfigError(f"--compare {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"--compare {path} was not written by --save") from None


def saved(checks: Iterable[str], findings: Iterable[Finding]) -> SavedRun:
    """Return a run as `read` does; of two findings about one subject, the worse."""
    ordered = sorted(findings, key=lambda found: found.severity)
    return SavedRun(frozenset(checks), {_key(found): found for found in ordered})


def _key(finding: Finding) -> tuple[str, str]:
    """Return check and subject, as they are in a document."""
    return finding.check, str(plain(finding.subject))


def compare(before: SavedResults, results: Results) -> list[str]:
    """Return a line for each finding that got better or worse, of the checks that both ran.

    Of several places, each line begins with its own; one alone is compared whatever it is called.
    """
    if len(before.places) == len(results.runs) == 1:
        return _changes(before.places[0], results.runs[0].run)
    known = {item.place: item for item in before.places}
    lines = []
    for item in results.runs:
        earlier = known.pop(_as_saved(item.place), None)
        found = _changes(earlier, item.run) if earlier else ["not in the earlier run"]
        lines += [f"{item.place}: {line}" for line in found]
    return lines + [f"{place}: only in the earlier run" for place in known]


def _as_saved(place: Place) -> Place:
    return Place(str(plain(place.instance)), str(plain(place.machine)))


def _changes(before: SavedPlace, run: Run) -> list[str]:
    earlier, after = saved(before.checks, before.findings), saved(run.checks, run.findings)
    lines = (change_of(old, new) for old, new in pairs(earlier, after))
    return list(filter(None, dict.fromkeys(lines)))


def pairs(before: SavedRun, after: SavedRun) -> list[tuple[Optional[Finding], Optional[Finding]]]:
    """Pair the findings of the checks that both ran; None where one run does not have it."""
    both = before.checks & after.checks
    # A new subject that is fine is no change.
    news = {key for key, found in after.findings.items() if found.severity > Severity.ok}
    keys = sorted(key for key in {*before.findings, *news} if key[0] in both)
    return [(before.get(key), after.get(key)) for key in keys]


def write_changes(name: str, changes: Sequence[str], stream: TextIO) -> None:
    """Write the result of `compare` with the run of the file `name`."""
    lines = [line for change in changes or ["nothing changed"] for line in wrapped("  ", change, 2)]
    print("", *wrapped("", f"Since {name}:"), *lines, sep="\n", file=stream)


def change_of(before: Optional[Finding], after: Optional[Finding]) -> str:
    """Return a line that says how a finding changed, empty where it did not."""
    shown = after or before
    if shown is None:
        return ""
    old, new = (finding.severity if finding else Severity.ok for finding in (before, after))
    change = f"{old.name} -> {new.name}"
    if old is not new:
        measured = {old: "now measured", new: "no longer measured"}.get(Severity.unknown)
        word = measured or ("worse" if new > old else "better")
    else:
        then, now = ((item.impact_ms if item else None) or 0.0 for item in (before, after))
        if not _differ(then, now):
            return ""
        word = "worse" if now > then else "better"
        per = shown.impact_per or (before.impact_per if before else "")
        change = f"{figure(then)} -> {figure(now)} ms per {per}"
    new_subject = shown.subject and shown.subject not in shown.diagnosis
    subject = f" ({shown.subject})" if new_subject else ""
    outdated = shown.severity is Severity.unknown and shown is before
    diagnosis = "" if outdated else ": " + shown.diagnosis
    return f"{word}: {shown.check} {change}{subject}{diagnosis}"


def _differ(before: float, after: float) -> bool:
    """Whether two costs differ by half or more: our judgement of the noise between two runs."""
    return abs(after - before) >= max(1.0, 0.5 * min(abs(before), abs(after)))
