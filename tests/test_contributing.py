"""The worked examples of CONTRIBUTING.rst, carried out as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from environment import BIN

import kallithea_tune

PACKAGE = Path(kallithea_tune.__file__).parent
TEXT = (PACKAGE.parent / "CONTRIBUTING.rst").read_text(encoding="utf-8")


def example(language: str, heading: str) -> str:
    """Return the first code block of a language below a heading."""
    section = TEXT[TEXT.index(heading) :]
    match = re.search(rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", section)
    assert match
    return textwrap.dedent(match[1])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package, to add to."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(PACKAGE), str(tmp_path / "kallithea_tune"), ignore=ignored)
    return tmp_path


def gearbox(source: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / "gearbox"), *map(str, words)],
        cwd=str(source),
        env=dict(os.environ, PYTHONPATH=str(source)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def python(source: Path, script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=str(source),
        env=dict(os.environ, PYTHONPATH=str(source)),
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout


def test_a_check_is_added_as_described(source: Path) -> None:
    ini = source / "my.ini"
    ini.write_text("[app:main]\nuse = egg:kallithea\n")
    area = source / "kallithea_tune" / "perf_check" / "storage"
    (area / "readme_checks.py").write_text(example("python", "How to add a check"))
    page = example("rst", "How to add a check")
    (area / "STO099.rst").write_text(page)
    words = ["perf-check", "-c", ini, "--only", "STO099", "--fail-on", "advice"]
    before = gearbox(source, *words)
    assert before.returncode == 1, before.stderr
    assert "STO099 advice: there is no README" in before.stdout
    (source / "README").touch()
    assert gearbox(source, *words).returncode == 0
    explained = gearbox(source, "perf-check", "--explain", "STO099").stdout
    assert explained.startswith(page.rstrip())


def test_a_web_server_is_added_as_described(source: Path) -> None:
    room = source / "kallithea_tune" / "static_export" / "webservers"
    (room / "thttpd.conf.j2").write_text(example("jinja", "How to add a web server"))
    with (room / "__init__.py").open("a") as module:
        module.write("\n" + example("python", "How to add a web server"))
    script = (
        "from kallithea_tune.static_export.webservers import SERVERS, render\n"
        "from kallithea_tune.static_export.webservers.site import Backend, Site\n"
        "backend = Backend.from_url('http://127.0.0.1:5000')\n"
        "print(sorted(SERVERS)[-1])\n"
        "print(render('thttpd', Site('/srv/static', [], [], [], [backend]), False))"
    )
    printed = python(source, script).split()
    assert printed == ["thttpd", "host=kallithea.example.com", "dir=/srv/static"]
    assert "thttpd" in gearbox(source, "help", "static-export").stdout


def test_an_engine_is_added_as_described(source: Path) -> None:
    room = source / "kallithea_tune" / "db_migrate" / "engines" / "firebird"
    script = (
        "from kallithea_tune.db_migrate.engines import engine_class\n"
        "print(*engine_class('firebird').settings.session_statements(True))"
    )
    assert python(source, script) == "\n"
    room.mkdir()
    (room / "__init__.py").write_text(example("python", "How to add a database engine"))
    assert python(source, script) == "SET STATEMENT TIMEOUT 0\n"


def test_a_preflight_rule_is_added_as_described(source: Path) -> None:
    rules = source / "kallithea_tune" / "db_migrate" / "preflight" / "rules.py"
    with rules.open("a") as module:
        module.write("\n\n" + example("python", "How to add a preflight rule"))
    script = (
        "from kallithea_tune.db_migrate.preflight import rules\n"
        "from kallithea_tune.db_migrate.preflight.fix_options import parse_fixes\n"
        "(action,) = [item for found in parse_fixes(['shouting=whisper']).values() "
        "for item in found]\n"
        "print(action.name)"
    )
    assert python(source, script) == "whisper\n"
