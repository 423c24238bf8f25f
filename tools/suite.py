"""Runs the parts of the suite one after the other, and says how long each took and what became of
all tests.

usage: suite.py INSTALL_SECONDS VERSION...

VERSION names a Python as in .venv-test-VERSION. What is not right in the code, or fails without an
instance and without a server, ends it at once. The last line is pytest's closing line for the tests
of all parts.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import time
from typing import Iterator, Sequence

PARALLEL = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")
RIGHT = {"passed", "deselected", "warning", "warnings"}


class Parts:
    """What was run, how long it took, and what pytest counted in it."""

    def __init__(self, install_seconds: float) -> None:
        self.seconds = {"install": install_seconds}
        self.counted: collections.Counter[str] = collections.Counter()
        self.failed: list[str] = []

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a part, showing what it says."""
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
        if process.returncode or set(counts) - RIGHT:
            self.failed.append(name)

    def test(self, name: str, versions: Sequence[str], which: str, *options: str) -> None:
        """Run the tests with an expression of markers on each Python; those that one Python is
        enough for, on one.
        """
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

    def tell(self) -> Iterator[str]:
        """Give the lines that close it all."""
        for name, seconds in self.seconds.items():
            yield "%-20s %6.0f s%s" % (name, seconds, "  failed" if name in self.failed else "")
        counts = ", ".join(
            "%d %s" % (number, what)
            for what, number in self.counted.items()
            if "warning" not in what and what != "deselected"
        )
        total = sum(self.seconds.values())
        yield (
            " {} in {:.2f}s ({}) ".format(
                counts or "nothing passed", total, time.strftime("%H:%M:%S", time.gmtime(total))
            )
        ).center(80, "=")


def main(install_seconds: str, *versions: str) -> int:
    """Run everything and return the exit status."""
    parts = Parts(float(install_seconds))
    parts.run("lint", ["sh", "tools/lint.sh"])
    parts.run("docs", ["sh", "tools/docs.sh"])
    parts.test("unit", versions, "unit", *PARALLEL)
    if not parts.failed:
        parts.test("suite", versions, "not unit and not alone", *PARALLEL)
        parts.test("alone", versions, "alone")
    print("\n".join(parts.tell()))
    return 1 if parts.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
