"""Compares ``gearbox help perf-check`` with ``gearbox --help`` where kallithea-tune is hidden, in
turn.

usage: startup.py [GEARBOX ...]

Without a path, the gearbox beside this Python. Ends with 1 where it takes more than 1.3 times the
CPU time.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 25
MOST = 1.3


# Run by Python when it starts.
HIDE = """
import importlib.metadata as metadata

everything = metadata.distributions
metadata.distributions = lambda **named: (
    one for one in everything(**named) if not one._path.name.startswith("kallithea_tune"))
"""


def hidden(directory: str) -> dict:
    """Return an environment in which nobody finds kallithea-tune's commands."""
    (Path(directory) / "sitecustomize.py").write_text(HIDE)
    path = os.pathsep.join(filter(None, [directory, os.environ.get("PYTHONPATH", "")]))
    return dict(os.environ, PYTHONPATH=path)


def taken(command: list, environment: dict) -> tuple:
    """Run a command once; return its wall clock and its CPU time in milliseconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1000, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def versions(gearbox: str) -> str:
    """Return the versions of gearbox and of its Python."""
    code = (
        "import sys; from importlib.metadata import version; "
        "print(version('gearbox'), sys.version.split()[0])"
    )
    said = subprocess.run(
        [str(Path(gearbox).with_name("python")), "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    return "gearbox {}, Python {}".format(*tuple(said.stdout.split()))


def measure(gearbox: str) -> float:
    """Print the medians of one gearbox, and return the ratio of CPU times."""
    with tempfile.TemporaryDirectory() as directory:
        bare = hidden(directory)
        said = subprocess.run(
            [gearbox, "--help"], env=bare, check=True, stdout=subprocess.PIPE
        ).stdout
        assert b"perf-check" not in said, "kallithea-tune is not hidden"
        commands = {
            "--help, kallithea-tune hidden": ([gearbox, "--help"], bare),
            "--help": ([gearbox, "--help"], dict(os.environ)),
            "help perf-check": ([gearbox, "help", "perf-check"], dict(os.environ)),
        }
        runs: dict = {name: [] for name in commands}
        # The first round only fills the page cache.
        for number in range(ROUNDS + 1):
            for name, (command, environment) in commands.items():
                took = taken(command, environment)
                runs[name] += [took] if number else []
    print(versions(gearbox))
    medians = {
        name: [statistics.median(column) for column in zip(*kept)] for name, kept in runs.items()
    }
    for name, (wall, cpu) in medians.items():
        print("  gearbox %-30s %6.1f ms wall, %6.1f ms CPU" % (name, wall, cpu))
    first, *_, last = medians.values()
    print(
        f"  ratio of the last to the first: {last[0] / first[0]:.2f} wall, "
        f"{last[1] / first[1]:.2f} CPU (at most {MOST:.1f})"
    )
    return last[1] / first[1]


if __name__ == "__main__":
    found = [
        measure(os.path.abspath(name))
        for name in sys.argv[1:] or [str(Path(sys.executable).with_name("gearbox"))]
    ]
    sys.exit(int(max(found) > MOST))
