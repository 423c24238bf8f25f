"""``perf-check --fix`` as an admin runs it: real runs on real instances, with planted findings."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import pytest
from environment import BIN
from owned import NOBODY, Owned

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "n3w-s3cr3t-0f-t0y"
CHECKS = f'''
import os
from kallithea_tune.perf_check.measurement import configuration
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.remedy import *


def toy(id, option, remedy):
    """A check that finds something as long as the ini file has the option."""

    @check(id, "toy-" + option, "A toy", "toys", measures=(configuration,))
    def judge(measured):
        """Look at the settings."""
        settings = measured.instance.settings
        value = settings.get("toy_" + option)
        if value and (id not in ("FIX005", "FIX006") or os.path.exists(value) is (id == "FIX006")):
            yield Finding(Severity.warning, "there is toy_" + option, subject=option,
                          remedy=remedy(value))

    return judge


def removed(*options):
    return lambda value: IniEdit(tuple(Option("app:main", *option) for option in options))


easy = toy("FIX001", "easy", removed(("toy_easy",)))
secret = toy("FIX002", "secret", lambda value: IniEdit(
    (Option("app:main", "toy_secret"), Option("app:main", "beaker.session.secret", "{SECRET}")),
    note="{SECRET} is longer"))
stubborn = toy("FIX003", "stubborn", removed(("toy_stubborn", "still")))
breaking = toy("FIX004", "breaks", removed(
    ("toy_breaks",), ("sqlalchemy.url", "sqlite:////nowhere/to/be/found.db")))
missing = toy("FIX005", "file", lambda value: Command(("touch", value)))
rubbish = toy("FIX006", "rubbish", lambda value: Command(("rm", value), effect=Effect.deletes))
sql = toy("FIX007", "sql", lambda value: Statements("ANALYZE", ("sqlite3", value)))
failing = toy("FIX008", "failing", lambda value: Steps((
    removed(("toy_failing",))(value), Command(("ls", "/nowhere/to/be/found")))))
stopped = toy("FIX009", "stopped", lambda value: Command(("true",), stopped=True))
sleeping = toy("FIX010", "sleeping", lambda value: Command(("sleep", "60")))
'''


@pytest.fixture
def planted(instance: Path, install: Any) -> Callable[..., Path]:
    """Set toy options in the ini file of an instance, whose checks are installed."""
    install("fixtoys", CHECKS)

    def plant(**options: object) -> Path:
        lines = "".join(f"toy_{name} = {value}\n" for name, value in options.items())
        instance.write_text(instance.read_text().replace("[app:main]\n", "[app:main]\n" + lines))
        return instance

    return plant


def others(ini: Path) -> Sequence[Path]:
    """The files beside the ini file that begin with its name, or are hidden."""
    return [path for path in ini.parent.glob("*") if path.name.startswith(("my.ini.", ".my"))] + [
        path for path in ini.parent.glob(".my*") if path.name.startswith(".my")
    ]


def rows(result: "subprocess.CompletedProcess[str]") -> Mapping[str, Mapping[str, Any]]:
    return {item["check"]: item for item in json.loads(result.stdout)}


def test_a_dry_run_and_a_run_without_a_terminal_write_nothing(
    perf_check: Run, planted: Callable[..., Path], tmp_path: Path
) -> None:
    ini = planted(easy=1, secret=1, file=tmp_path / "made", sql="x.db")
    before = ini.read_text()
    fix = ["-c", ini, "--fix", "FIX001,FIX002", "--fix", "FIX005,FIX007"]
    shown = perf_check(*fix, "-n")
    assert shown.returncode == 0 and SECRET not in shown.stdout + shown.stderr
    for line in (
        "  edit: remove toy_easy in [app:main]",
        f"  run: touch {tmp_path / 'made'} (this is permanent)",
        "  left to you: run the SQL yourself, with the client shown",
        "    sqlite3 x.db ANALYZE",
        "-toy_easy = 1",
        "+beaker.session.secret = ***",
    ):
        assert line in shown.stdout.splitlines()
    assert (
        "  edit: *** is longer: remove toy_secret, set beaker.session.secret = ***" in shown.stdout
    )
    refused = perf_check(*fix, stdin=subprocess.DEVNULL)
    assert refused.returncode == 3 and "there is no terminal; see -y" in refused.stderr
    assert ini.read_text() == before and not others(ini) and not (tmp_path / "made").exists()


@pytest.mark.once
def test_several_findings_are_fixed_at_once_and_measured_again(
    perf_check: Run, planted: Callable[..., Path], tmp_path: Path
) -> None:
    ini = planted(easy=1, secret=1, file=tmp_path / "made")
    before = ini.read_text()
    result = perf_check("-c", ini, "--fix", "FIX001,FIX002,FIX005", "-y", "-f", "json")
    assert result.returncode == 0, result.stderr
    found = rows(result)
    assert {item["verdict"] for item in found.values()} == {"gone"}
    assert [step["kind"] for step in found["FIX005"]["actions"]] == ["command"]
    text = ini.read_text()
    assert "toy_easy" not in text and f"beaker.session.secret = {SECRET}\n" in text
    assert (tmp_path / "made").exists() and SECRET not in result.stdout + result.stderr
    (backup,) = others(ini)
    assert backup.read_text() == before and f"cp -p {backup} {ini}" in result.stderr
    again = perf_check("-c", ini, "--fix", "FIX001", "-y")
    assert (again.returncode, again.stdout) == (0, "nothing to fix\n")


@pytest.mark.once
@pytest.mark.parametrize(
    "option, id, status, words",
    [
        ("breaks", "FIX004", 3, "does not load with the new ini file, so nothing was changed"),
        ("stubborn", "FIX003", 1, "still there: FIX003 stubborn: warning -> warning"),
        ("failing", "FIX008", 4, "failed: ls /nowhere/to/be/found ended with status 2: "),
    ],
)
def test_the_ini_file_is_put_back_where_it_did_not_help(
    perf_check: Run,
    planted: Callable[..., Path],
    option: str,
    id: str,
    status: int,
    words: str,
) -> None:
    ini = planted(easy=1, **{option: 1})
    before = ini.read_text()
    result = perf_check("-c", ini, "--fix", f"FIX001,{id}", "-y")
    assert result.returncode == status and words in result.stdout + result.stderr
    assert ini.read_text() == before and not others(ini)
    if status != 3:
        assert "was put back: it is as it was before." in result.stdout.replace("\n", " ")


def on_terminal(words: Sequence[object], answers: Sequence[str], **options: Any) -> tuple[int, str]:
    """Run perf-check on a terminal, give the answers to its questions; return what it showed."""
    leader, follower = pty.openpty()
    command = [str(BIN / "gearbox"), "perf-check", *map(str, words)]
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True, **options
    )
    os.close(follower)
    shown, left = b"", list(answers)
    while True:
        try:
            data = os.read(leader, 4096)
        except OSError:
            break
        shown += data
        if left and shown.count(b"[y/N] ") > len(answers) - len(left):
            os.write(leader, left.pop(0).encode() + b"\n")
    os.close(leader)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


@pytest.mark.once
def test_what_deletes_data_has_a_question_of_its_own(
    perf_check: Run, planted: Callable[..., Path], environment: Any, tmp_path: Path
) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.touch()
    ini = planted(rubbish=rubbish)
    fix = ["-c", ini, "--fix", "FIX006", "-y"]
    refused = perf_check(*fix, stdin=subprocess.DEVNULL)
    assert refused.returncode == 3 and "even with -y; nothing was done" in refused.stderr
    status, shown = on_terminal(fix, ["n"], env=environment)
    assert status == 3 and f"FIX006 deletes data for good: rm {rubbish}. Do it? [y/N]" in shown
    assert rubbish.exists()
    status, shown = on_terminal(fix, ["y"], env=environment)
    assert status == 0 and "gone: FIX006 rubbish" in shown and not rubbish.exists()
    assert (
        "nothing to fix"
        in perf_check("-c", ini, "--fix", "all-safe", "-y", "--only", "FIX*").stdout
    )


@pytest.mark.once
def test_killed_at_any_moment_it_leaves_one_complete_ini_file(
    perf_check: Run, planted: Callable[..., Path], environment: Any
) -> None:
    ini = planted(easy=1)
    old = ini.read_text()
    new = old.replace("toy_easy = 1\n", "")
    for reached in (
        lambda: any(path.name == ".my.ini.candidate" for path in others(ini)),
        lambda: any(path.name.startswith("my.ini.") for path in others(ini)),
        lambda: ini.read_text() != old,
    ):
        command = [str(BIN / "gearbox"), "perf-check", "-c", str(ini), "--fix", "FIX001", "-y"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while not reached() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        text = ini.read_text()
        assert text in (old, new)
        if text == new:
            assert any(path.read_text() == old for path in others(ini))
        ini.write_text(old)
        for path in ini.parent.glob("my.ini.*"):
            path.unlink()
    assert perf_check("-c", ini, "--fix", "FIX001", "-y").returncode == 0
    assert [path.name.startswith("my.ini.") for path in others(ini)] == [True]


@pytest.mark.once
def test_interrupted_it_puts_the_ini_file_back(
    planted: Callable[..., Path], environment: Any
) -> None:
    ini = planted(easy=1, sleeping=1)
    before = ini.read_text()
    command = [str(BIN / "gearbox"), "perf-check", "-c", str(ini), "--fix", "FIX001,FIX010", "-y"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while ini.read_text() == before and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert ini.read_text() == before and not others(ini)


@pytest.mark.once
def test_root_runs_commands_as_the_owner_of_the_data(
    pristine: Path, planted: Callable[..., Path], environment: Any
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o755)
        owned = Owned(pristine, Path(place))
        made = owned.directory / "made"
        text = owned.ini.read_text()
        owned.ini.write_text(
            text.replace("[app:main]\n", f"[app:main]\ntoy_easy=1\ntoy_file = {made}\n")
        )
        owned.give_to(NOBODY, NOBODY)
        site = Path(place) / "site"
        site.symlink_to(environment["PYTHONPATH"].split(os.pathsep)[0])
        result = owned.gearbox(
            "perf-check", "-c", owned.ini, "--fix", "FIX001,FIX005", "-y", variables=environment
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"run: sudo -u nobody touch {made}" in result.stdout
        (backup,) = others(owned.ini)
        assert {path.stat().st_uid for path in (made, owned.ini, backup)} == {NOBODY}


def test_options_that_contradict_fix_are_one_sentence(perf_check: Run, instance: Path) -> None:
    for words, sentence in (
        (["--fix", "CFG001", "--try", "a=b"], "--fix and --try cannot be combined"),
        (["--fix", "all-safe,CFG001"], "--fix takes all-safe or ids, not both"),
        (["-n"], "-n and -y belong to --fix; perf-check alone changes nothing"),
        (["--fix", "NOPE"], "no check matches 'NOPE'"),
    ):
        result = perf_check("-c", instance, *words)
        assert result.returncode == 2 and sentence in result.stderr


@pytest.mark.once
def test_what_needs_kallithea_stopped_is_refused_while_it_runs(
    perf_check: Run, planted: Callable[..., Path], instance: Path
) -> None:
    ini = planted(stopped=1)
    name = "gearbox"
    program = "import time; print('up', flush=True); time.sleep(60)"
    server = subprocess.Popen(
        [name, "-c", program, "serve", "-c", str(ini)],
        executable=sys.executable,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout and server.stdout.readline()
        result = perf_check("-c", ini, "--fix", "FIX009", "-y")
    finally:
        server.kill()
        server.communicate()
    assert (
        result.returncode == 3 and "1 process serves this ini file; stop it first" in result.stderr
    )
