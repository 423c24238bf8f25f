"""Runs the parts of the suite one after the other, and prints how long each took.

usage: suite.py INSTALL_SECONDS VERSION...

VERSION is that of a Python, as in .venv-test-VERSION. Linters or unit tests that fail end it. The
last line is like pytest's own, with the results of all parts.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import time
from typing import Iterator, Sequence

# Tests wait for servers and children: with two processors, three at a time take less than two.
WORKERS = min((os.cpu_count() or 1) + 1, 4)
PARALLEL = ("-n", str(WORKERS), "--dist", "worksteal")
# A skipped test is a failure, as is everything else that is not among these.
ACCEPTED = {"passed", "deselected", "warning", "warnings"}


class Parts:
    """The parts that were run, their times, and the results that pytest counted."""

    def __init__(self, install_seconds: float) -> None:
        self.seconds = {"install": install_seconds}
        self.counted: collections.Counter[str] = collections.Counter()
        self.failed: list[str] = []

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a part and pass its output on."""
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdout
            end = b""
            for piece in iter(lambda: os.read(process.stdout.fileno(), 65536), b""):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
                end = (end + piece)[-1000:]
        self.seconds[name] = time.monotonic() - begun
        closing = re.findall(r"(?m)^=+ (.*) in [\d.]+s", end.decode("utf-8", "replace"))
        counts = {
            what: int(number) for number, what in re.findall(r"(\d+) (\w+)", "".join(closing))
        }
        self.counted.update(counts)
        if process.returncode or set(counts) - ACCEPTED:
            self.failed.append(name)

    def test(self, name: str, versions: Sequence[str], which: str, *options: str) -> None:
        """Run the tests of a marker expression on each Python, and those marked `once` on one."""
        for number, version in enumerate(versions):
            self.run(
                f"{name} on Python {version}",
                [
                    f".venv-test-{version}/bin/python",
                    "-m",
                    "pytest",
                    "--timeout",
                    "900",
                    "-m",
                    which + (" and not once" if number else ""),
                    *options,
                ],
            )

    def summary(self) -> Iterator[str]:
        """Yield the time of each part, and the closing line."""
        for name, seconds in self.seconds.items():
            failed = "  failed" if name in self.failed else ""
            yield f"{name:<20} {seconds:6.0f} s{failed}"
        counts = ", ".join(
            f"{number} {what}"
            for what, number in self.counted.items()
            if "warning" not in what and what != "deselected"
        )
        total = sum(self.seconds.values())
        clock = time.strftime("%H:%M:%S", time.gmtime(total))
        yield f" {counts or 'nothing passed'} in {total:.2f}s ({clock}) ".center(80, "=")


def main(install_seconds: str, *versions: str) -> int:
    """Run everything and return the exit status."""
    parts = Parts(float(install_seconds))
    parts.run("lint", ["sh", "tools/lint.sh"])
    parts.run("docs", ["sh", "tools/docs.sh"])
    parts.run("package", ["sh", "tools/package.sh"])
    builder = ["env", "DEBFULLNAME=The suite", "DEBEMAIL=suite@kallithea-tune.test"]
    parts.run("debian", [*builder, "sh", "tools/debian.sh"])
    parts.test("unit", versions, "unit", *PARALLEL)
    if not parts.failed:
        parts.test("suite", versions, "not unit and not alone", *PARALLEL, "--durations", "15")
        # Time, memory and signals are the system's more than Python's.
        parts.test("alone", versions[:1], "alone")
    print("\n".join(parts.summary()))
    return 1 if parts.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
