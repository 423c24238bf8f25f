"""Runs the tests that are marked `claim`, and prints what they showed by web server, as a table.

usage: claims.py [PYTEST ARGUMENTS] > docs/static-export-claims.inc

A test belongs to the server that its parameters name, or to all. Status 1 when a test failed.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Iterator

import pytest

SERVERS = ("nginx", "apache", "caddy", "lighttpd", "haproxy")
TESTS = "tests/static_export"


class Claims:
    """Collects the outcome of each claim for each server."""

    def __init__(self) -> None:
        self._claims: dict[str, str] = {}
        self.outcomes: dict[str, dict[str, set[str]]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests with a claim, and know what each claims."""
        items[:] = [item for item in items if item.get_closest_marker("claim")]
        for item in items:
            marker = item.get_closest_marker("claim")
            assert marker
            self._claims[item.nodeid] = marker.args[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of a test, of its setup where that failed."""
        if report.when != "call" and report.passed:
            return
        parameters = report.nodeid.partition("[")[2].rstrip("]").split("-")
        servers = [name for name in SERVERS if name in parameters] or SERVERS
        row = self.outcomes.setdefault(self._claims[report.nodeid], {})
        for name in servers:
            row.setdefault(name, set()).add(report.outcome)

    def table(self) -> Iterator[str]:
        """Yield the lines of a list-table: yes, no, or nothing where no test was run."""
        yield ".. list-table::\n   :header-rows: 1\n   :widths: 50 10 10 10 10 10\n"
        yield "   * - What holds\n" + "\n".join(f"     - {name}" for name in SERVERS)
        for claim, row in self.outcomes.items():
            cells = ["" if name not in row else word(row[name]) for name in SERVERS]
            yield f"   * - {claim}\n" + "\n".join(f"     - {cell}".rstrip() for cell in cells)


def word(outcomes: set[str]) -> str:
    """Return what the outcomes of a claim's tests amount to."""
    return "yes" if outcomes == {"passed"} else "**no**"


def main(*arguments: str) -> int:
    """Run the tests, their own output on stderr, and print the table."""
    claims = Claims()
    with contextlib.redirect_stdout(sys.stderr):
        status = pytest.main(["-q", *(arguments or [TESTS])], plugins=[claims])
    print("\n".join(claims.table()))
    return int(status != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
