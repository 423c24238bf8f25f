"""How merging and rendering the reports of a fleet grow with its machines.

usage: fleet.py [MACHINES ...]

Each machine reports FINDINGS findings, and facts as a real one does; one in ten has another session
secret. Each size runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import datetime
import io
import multiprocessing
import resource
import sys
import time
from typing import Callable

from kallithea_tune.perf_check import report, saved_run
from kallithea_tune.perf_check.fleet import facts, merging
from kallithea_tune.perf_check.fleet.client import Reply
from kallithea_tune.perf_check.fleet.messages import Answer, Machine, State
from kallithea_tune.perf_check.formats import html, nagios, prometheus
from kallithea_tune.perf_check.model import Finding, Severity, all_checks
from kallithea_tune.perf_check.results import Place, PlacedRun, Results, Rule
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.perf_check.scaling.comparison import REQUIREMENTS
from kallithea_tune.perf_check.scaling.instances import Facts, Value

SIZES = (1, 10, 100, 1000)
FINDINGS = 70  # what the checks that a request may have find at a healthy instance
SETTINGS = 60  # of the ini file, beyond those that have a rule
WHEN = datetime.datetime(2026, 1, 1)


def run_of() -> Run:
    """Return a run with findings as long as real ones."""
    severities = [Severity.ok] * 8 + [Severity.advice, Severity.warning]
    findings = [
        Finding(
            severities[number % len(severities)],
            f"finding {number}: 12 of 14 directories are on the disk that they should be on",
            subject=f"/srv/kallithea/data/{number}",
            evidence={"directories": 12, "largest_mb": 17.5, "path": "/srv/kallithea/data"},
            threshold="14 directories",
            source="our judgement",
            check=check.id,
            slug=check.slug,
            area=check.area,
        )
        for number, check in enumerate(all_checks()[:FINDINGS])
    ]
    return Run(findings, 1.0, checks=tuple(item.check for item in findings))


def reply_of(number: int, run: Run) -> Reply:
    """Return what the worker of a machine sent."""
    digest = "%064x"
    values = {
        item.setting: Value(item.setting, item.setting, {})
        for item in REQUIREMENTS
        if item.rule is Rule.must_be_equal
    }
    values["session.secret"] = Value("", digest % (number % 10 == 9), {})
    more = {f"setting_{one}": Value(f"value {one}", f"value {one}", {}) for one in range(SETTINGS)}
    host = f"web{number}"
    answer = Answer(
        State.done,
        report=saved_run.document(Results((PlacedRun(Place("my.ini", host), run),))),
        facts=facts.dumped(Facts("my.ini", "", "app:main", values, more)),
        machine=Machine(host, f"boot{number}", "pid:[4026531836]", "/srv/kallithea/my.ini"),
    )
    return Reply(f"celery@{host}", answer)


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Return the seconds of processor time, and the result."""
    began = time.process_time()
    result = function()
    return time.process_time() - began, result


def measure(machines: int) -> None:
    """Print one line."""
    run = run_of()
    first, *replies = (reply_of(number, run) for number in range(machines + 1))
    received = sum(len(one.answer.report) for one in replies if one.answer)
    assert first.answer
    own = merging.Reported(
        PlacedRun(Place("my.ini"), run), first.answer.machine, facts.loaded(first.answer.facts)
    )
    before = peak()
    merging_s, results = timed(lambda: merging.merged(Results((own.run,)), replies, own))
    assert isinstance(results, Results) and len(results.runs) == machines + 1
    merged_mb = peak() - before
    text_s, _ = timed(lambda: report.write_results(results, io.StringIO()))
    json_s, _ = timed(lambda: saved_run.document(results))
    html_s, page = timed(lambda: html.page(results, WHEN))
    rest_s, _ = timed(lambda: (nagios.line(results, Severity.error), prometheus.text(results)))
    figures = (merging_s, text_s, json_s, html_s, rest_s)
    print(
        f"{machines:>8,} {received / 1e6:>9.1f} "
        + " ".join(f"{one:>8.2f}" for one in figures)
        + f" {len(str(page)) / 1e6:>8.1f} {merged_mb:>9.0f} {peak():>8.0f}",
        flush=True,
    )


def peak() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Measure each size."""
    columns = ("merge s", "text s", "save s", "html s", "rest s", "html MB")
    print("machines", f"{'MB sent':>9}", *(f"{one:>8}" for one in columns), " merge MB  peak MB")
    for size in map(int, sys.argv[1:] or SIZES):
        child = multiprocessing.get_context("spawn").Process(target=measure, args=(size,))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit(child.exitcode)


if __name__ == "__main__":
    main()
