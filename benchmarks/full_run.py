"""What a full run of perf-check costs: whether the budget is kept, the peak of memory, the time of
each check.

usage: full_run.py INI [BUDGET ...]

Without budgets 60 seconds. Run it with the Python that has Kallithea. Memory is the proportional
set size (PSS) of the command and all its children together, every 50 ms, so that what they share
counts once. Ends with 1 where a run takes longer than its budget and 3 seconds, for processes that
start and end.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time

import psutil

SPARE_S = 3.0
EVERY_S = 0.05
SHOWN = 15


def pss(process: psutil.Process) -> float:
    """Return the proportional set size of one process in MB, 0 when it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.memory_full_info().pss / 1e6
    return 0.0


def sampled(command: list) -> tuple:
    """Run `command`; return what it printed and the peaks of memory: all together, and the command
    alone.
    """
    together = alone = 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            own, others = pss(parent), [pss(child) for child in parent.children(recursive=True)]
            alone, together = max(alone, own), max(together, own + sum(others))
        time.sleep(EVERY_S)
    assert process.stdout and process.returncode == 0
    return json.loads(process.stdout.read().decode()), together, alone


def run_here(ini: str, budget: float) -> None:
    """Run all checks in this process and print what each took, as JSON."""
    from kallithea_tune.config import instance
    from kallithea_tune.perf_check import model, runner

    checks = model.all_checks()
    titles = {item.title: item for item in checks}
    began: list = []
    report = runner.run(
        instance.load(ini),
        checks,
        budget,
        progress=lambda title, *_: began.append((title, time.monotonic())),
    )
    ends = [moment for _, moment in began[1:]] + [time.monotonic()]
    taken = [
        {
            "check": titles[title].id,
            "may": titles[title].seconds,
            "took": end - moment,
        }
        for (title, moment), end in zip(began, ends)
    ]
    unknown = sum(found.severity is model.Severity.unknown for found in report.findings)
    print(
        json.dumps(
            {
                "seconds": report.seconds,
                "checks": taken,
                "notes": report.notes,
                "unknown": unknown,
                "may": sum(
                    measurement.seconds
                    for measurement in {one for item in checks for one in item.measurements}
                ),
            }
        )
    )


def main() -> int:
    """Measure each budget in a process of its own, and print."""
    ini, *budgets = sys.argv[1:]
    late = False
    for budget in map(float, budgets or ["60"]):
        seen, together, alone = sampled([sys.executable, __file__, "--here", ini, str(budget)])
        late |= seen["seconds"] > budget + SPARE_S
        print(
            f"budget {budget:g} s: {seen['seconds']:.1f} s, {len(seen['checks'])} checks, "
            f"{seen['unknown']} findings not measured; "
            f"measurements may take {seen['may']:.1f} s together"
        )
        print(f"memory: {together:.0f} MB at most, {alone:.0f} MB of them the command itself")
        for note in seen["notes"]:
            print("note: " + note)
        for item in sorted(seen["checks"], key=lambda item: -item["took"])[:SHOWN]:
            print("  %-8s %6.2f s of %4.1f" % (item["check"], item["took"], item["may"]))
    return int(late)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        run_here(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(main())
