"""Where ``--load`` may go, and that nothing is sent before that is clear."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

from kallithea_tune.cli import loading
from kallithea_tune.perf_check.results import Curve, Level

INI = "[app:main]\nuse = egg:kallithea\n"
# TEST-NET-1, which no packet is sent to by these tests.
ELSEWHERE = "http://192.0.2.1:5000"


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["--load", ELSEWHERE], 3, "192.0.2.1 is not this machine; confirm with --load-host"),
        (["--load", ELSEWHERE, "--load-host", "192.0.2.2"], 3, "192.0.2.1 is not this machine"),
        (["--load", "http://admin:geheim@127.0.0.1"], 2, "give a URL without user"),
        (["--load-host", "code.example.org"], 2, "--load-host belongs to --load URL"),
        (["--load", "--fix", "DB001"], 2, "--load and --fix cannot be combined"),
        (["--load", "-c", "other.ini"], 2, "--load is for one instance"),
    ],
    ids=["elsewhere", "another host", "user", "host alone", "fix", "several"],
)
def test_a_load_that_nobody_confirmed_is_refused_in_one_sentence(
    perf_check: Callable[..., Any], tmp_path: Path, words: list[str], status: int, message: str
) -> None:
    (tmp_path / "my.ini").write_text(INI)
    done = perf_check("-c", tmp_path / "my.ini", *words, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert "geheim" not in done.stderr


def test_an_instance_that_cannot_be_loaded_is_not_measured(
    perf_check: Callable[..., Any], instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "sqlalchemy.url", "sqlite:////nowhere/kallithea.db")
    done = perf_check("-c", instance, "--load", "--only", "CFG004", "--fail-on", "error")
    assert done.returncode == 5, done.stderr


def test_a_curve_without_levels_is_not_measured() -> None:
    curve = Curve("processes", (Level(1, (2.0,), (500.0,), 2, 0, 0.1),))
    assert loading.status([]) == loading.status([curve]) == 0
    assert loading.status([curve, Curve("threads of one process", ())]) == 5
