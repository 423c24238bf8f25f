"""The tables of docs/compatibility.rst have the versions that these tests run with."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "compatibility.rst"
PROGRAMS = {
    "PostgreSQL": ["psql", "--version"],
    "MariaDB": ["mariadb", "--version"],
    "nginx": ["nginx", "-v"],
    "Apache": ["apache2", "-v"],
    "lighttpd": ["lighttpd", "-v"],
    "Caddy": ["caddy", "version"],
    "HAProxy": ["haproxy", "-v"],
    "RabbitMQ": ["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"],
    "Git": ["git", "--version"],
}


def table(heading: str) -> "dict[str, list[str]]":
    """The rows of the first table whose heading begins so, by their first cell."""
    text = PAGE.read_text(encoding="utf-8")
    match = re.search(rf"(?m)^(=[= ]+=)\n({heading} .*)\n\1\n((?:.+\n)+?)\1\n", text)
    assert match, heading
    return {row.split()[0]: row.split()[1:] for row in match[3].splitlines()}


@pytest.mark.parametrize("package", table("Package"))
def test_a_package_is_the_one_of_the_table(package: str) -> None:
    versions = dict(zip(((3, 8), (3, 11)), table("Package")[package]))
    here = versions[sys.version_info[:2]]
    assert metadata.version(package).split(".")[:2] == here.split(".")


@pytest.mark.parametrize("program", table("Program"))
def test_a_program_is_the_one_of_the_table(program: str) -> None:
    command = PROGRAMS[program]
    # Some are where root alone looks for programs.
    found = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, f"{command[0]} is not installed"
    said = subprocess.run(
        [found, *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=True,
    ).stdout
    (wanted,) = table("Program")[program]
    versions = [match[1] for match in re.finditer(r"(\d+(?:\.\d+)+)", said)]
    assert any(
        version.split(".")[: wanted.count(".") + 1] == wanted.split(".") for version in versions
    ), said
