"""The command under gearbox 0.3.2 and 0.5.0, whichever is installed: help, log file, terminal,
start-up.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from importlib import metadata

import pytest
from environment import BIN


def test_gearbox_is_the_old_one_on_kallitheas_pins_and_the_new_one_on_the_newer_set():
    assert metadata.version("gearbox") == ("0.3.2" if sys.version_info < (3, 10) else "0.5.0")


def test_help_reads_well_although_gearbox_folds_newlines(gearbox, tmp_path):
    result = gearbox("help", "perf-check", cwd=str(tmp_path), env={**os.environ, "COLUMNS": "80"})
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    assert text.startswith("usage: gearbox perf-check [-c INI]")
    assert (
        "Measure a Kallithea installation and say what to change, with the evidence. "
        "Nothing is changed except by --fix." in text
    )
    assert "--try NAME=VALUE" in text and max(map(len, result.stdout.splitlines())) <= 80
    # Each option says what it does.
    assert not re.search(r"\n  (-\w [A-Z]*, )?--[\w-]+( [A-Z=]+)?\n(  -|$)", result.stdout)


def test_gearbox_lists_the_command_with_one_whole_sentence(gearbox, tmp_path):
    (line,) = [
        line
        for line in gearbox("--help", cwd=str(tmp_path)).stdout.splitlines()
        if "perf-check" in line
    ]
    assert line.split(None, 1)[1].startswith("Measure a Kallithea installation") and line.endswith(
        "."
    )


def modules_of(directory, *words):
    """The modules that a run of gearbox had imported when it ended."""
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from gearbox.main import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=str(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


def test_help_imports_nothing_that_is_heavy(tmp_path):
    more = modules_of(tmp_path, "help", "perf-check") - modules_of(tmp_path, "help", "help")
    assert {name for name in more if name.startswith("kallithea_tune")} == {
        "kallithea_tune",
        "kallithea_tune.cli",
        "kallithea_tune.cli.base",
        "kallithea_tune.cli.fixing",
        "kallithea_tune.cli.format_options",
        "kallithea_tune.cli.loading",
        "kallithea_tune.cli.masking",
        "kallithea_tune.cli.perf_check",
        "kallithea_tune.cli.perf_check_options",
        "kallithea_tune.system",
        "kallithea_tune.system.interruption",
        "kallithea_tune.text",
    }
    heavy = {
        "kallithea",
        "tg",
        "sqlalchemy",
        "psutil",
        "cliff",
        "cmd2",
        "paste",
        "beaker",
        "mercurial",
        "json",
    }
    assert not heavy & {name.partition(".")[0] for name in more}


def test_the_log_file_gets_the_complaint_and_the_report_stays_out(
    gearbox, toys, environment, tmp_path
):
    log = tmp_path / "gearbox.log"
    words = ["--log-file", log, "perf-check", "-c"]
    result = gearbox(
        *words, toys(toy_level="error"), "--only", "TOY001", cwd=str(tmp_path), env=environment
    )
    assert result.returncode == 1 and "the bear" in result.stdout and log.read_text() == ""
    result = gearbox(*words, tmp_path / "none.ini", cwd=str(tmp_path))
    assert (
        result.returncode == 2
        and log.read_text().endswith(result.stderr)
        and "does not exist" in log.read_text()
    )


def test_an_error_of_our_own_is_one_sentence_and_with_debug_a_traceback(
    gearbox, install, environment, tmp_path
):
    install("toys", "raise SyntaxError('half a toy')\n")
    for words in (["perf-check"], ["--debug", "perf-check"], ["perf-check", "--debug"]):
        result = gearbox(*words, "--list", cwd=str(tmp_path), env=environment)
        assert result.returncode == 2, result.stderr
        assert "the check plug-in 'toys' cannot be imported: half a toy\n" in result.stderr
        assert ("Traceback" in result.stderr) is ("--debug" in words)
        assert result.stderr.count("\n") == 1 or "--debug" in words


def on_terminal(environment, directory, *words):
    """Run gearbox on a terminal of its own; return all that it wrote there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        os.execve(str(BIN / "gearbox"), ["gearbox", *map(str, words)], environment)
    written = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            got = os.read(terminal, 65536)
        except OSError:
            break
        if not got:
            break
        written += got
    return os.WEXITSTATUS(os.waitpid(process, 0)[1]), written.decode()


def test_a_terminal_gets_colours_and_a_progress_line(toys, environment, tmp_path):
    words = [
        "perf-check",
        "-c",
        toys(toy_level="error"),
        "--only",
        "TOY001",
        "--only",
        "TOY003",
        "--budget",
        "0.5",
    ]
    environment = {**environment, "TERM": "xterm"}
    status, written = on_terminal(environment, tmp_path, *words)
    assert status == 1
    assert "\033[31;1mTOY001 error: the bear is well\033[0m" in written
    assert "\r\033[K[1/2] A toy that takes its time" in written
    # The line is gone before the report begins.
    assert (
        written.rindex("[1/2]")
        < written.rindex("\r\033[K")
        < written.index("\033[31;1mtoys")
        < written.index("TOY001 error")
    )
    quiet = on_terminal(environment, tmp_path, "-q", *words)[1]
    assert "[1/2]" not in quiet and "\033[31;1m" in quiet
    assert "\033[31" not in on_terminal({**environment, "NO_COLOR": "1"}, tmp_path, *words)[1]
    assert "\033[31" not in on_terminal({**environment, "TERM": "dumb"}, tmp_path, *words)[1]


def test_no_terminal_no_colours_and_no_progress(perf_check, toys):
    result = perf_check(
        "-c", toys(toy_level="error"), "--only", "TOY001", "--only", "TOY003", "--budget", "0.5"
    )
    assert result.stderr == "" and "\033" not in result.stdout and "\r" not in result.stdout


@pytest.mark.parametrize("command", ["perf-check", "static-export", "db-migrate"])
def test_the_ini_file_may_be_given_by_the_environment(command, tmp_path, gearbox):
    words = {"perf-check": [], "static-export": ["DEST"], "db-migrate": ["--to", "sqlite:///t"]}
    variables = {**os.environ, "KALLITHEA_INI": str(tmp_path / "by-variable.ini")}
    for given, used in (
        ([], "by-variable.ini"),
        (["-c", str(tmp_path / "by-option.ini")], "by-option.ini"),
        (["-c", str(tmp_path / "by-variable.ini")], "by-variable.ini"),
    ):
        result = gearbox(command, *words[command], *given, env=variables, cwd=str(tmp_path))
        assert result.returncode == 2
        assert f"the ini file {tmp_path / used} does not exist" in result.stderr
