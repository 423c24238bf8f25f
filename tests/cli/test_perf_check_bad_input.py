"""Ini files, applications and directories as they should not be: one sentence, the right status, no
traceback.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from columns import too_long

APP = "[app:main]\nuse = egg:kallithea\n"
BROKEN = {
    "no such file": (None, "does not exist"),
    "empty": ("", "is empty"),
    "no ini file": (
        "Dear admin,\nall is well.\n",
        "is not an ini file: line 1 comes before any [section]",
    ),
    "binary": (b"\x7fELF\xff\xfe\x00" * 9, "is not text in UTF-8"),
    "zeros": (b"\x00" * 99, "has a NUL character in line 1; remove it"),
    "no application": (
        "[server:main]\nuse = egg:waitress\n",
        "No section 'main' (prefixed by 'app'",
    ),
    "a line without =": (APP + "cache_dir\n", "cannot be parsed at line 3"),
    "section twice": (APP + APP, "has the section [app:main] twice (line 3)"),
    "option twice": (APP + "a = 1\na = 2\n", "has the option a twice in [app:main] (line 4)"),
    "unknown reference": (
        APP + "cache_dir = %(nowhere)s/data\n",
        "the option cache_dir in [app:main] has a broken %(",
    ),
    "single %": (APP + "smtp_password = a%secret\n", "write a literal % as %%"),
    "reference to itself": (APP + "a = %(a)s\n", "has a broken %("),
    "use of a file that is not there": (
        "[app:main]\nuse = config:none.ini\n",
        "does not load: it uses ",
    ),
    "use in a circle": ("[app:main]\nuse = config:my.ini\n", "settings are circular"),
    "use of nothing": ("[app:main]\nuse =\n", "does not load: "),
    "no use": ("[app:main]\na = 1\n", "No loader given in section 'app:main'"),
    "unknown scheme": ("[app:main]\nuse = gopher:kallithea\n", "URI scheme not known: gopher:"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_ini_file_that_does_not_load_is_one_sentence(perf_check, tmp_path, kind):
    content, said = BROKEN[kind]
    ini = tmp_path / "my.ini"
    if content is not None:
        ini.write_bytes(content if isinstance(content, bytes) else content.encode())
    _refused(perf_check("-c", ini), ini, said)


def _refused(result, ini, said):
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert said in result.stderr and str(ini) in result.stderr
    assert result.stderr.startswith("gearbox perf-check: ") and result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_a_directory_a_pipe_and_a_circle_of_links_are_no_ini_file(perf_check, tmp_path):
    _refused(perf_check("-c", tmp_path), tmp_path, "is a directory; give the ini file in it")
    pipe, link = tmp_path / "pipe", tmp_path / "link.ini"
    os.mkfifo(str(pipe))
    _refused(perf_check("-c", pipe, timeout=120), pipe, "is not a regular file")
    link.symlink_to(link)
    _refused(perf_check("-c", link), link, "cannot be read: Too many levels of symbolic links")
    below = tmp_path / "pipe" / "my.ini"
    _refused(perf_check("-c", below), below, "cannot be read: Not a directory")


def test_a_file_that_may_not_be_read(perf_check, instance, without_privileges):
    instance.chmod(0)
    _refused(
        perf_check("-c", instance, before=without_privileges),
        instance,
        "cannot be read: Permission denied",
    )


def test_debug_shows_where_it_happened_and_nothing_that_is_secret(perf_check, tmp_path, gearbox):
    ini = tmp_path / "my.ini"
    ini.write_text(APP + "smtp_password = a%secret\n")
    result = gearbox("--debug", "perf-check", "-c", ini, cwd=str(tmp_path))
    assert result.returncode == 2 and "Traceback (most recent call last)" in result.stderr
    assert result.stderr.rstrip().endswith("as %%") and "a%secret" not in result.stderr


@pytest.mark.parametrize(
    "use, said", [("egg:broken#broken", "broken from the start"), ("egg:kallithea#none", "none")]
)
@pytest.mark.once
def test_an_application_that_does_not_load_stops_no_other_check(
    perf_check, instance, edit, install, use, said
):
    source = "raise ImportError('broken from the start')\nimport kallithea.config.application\n"
    install("broken", source, "paste.app_factory")
    edit(instance, "use = egg:kallithea\n", f"use = {use}\n")
    areas = [
        word for area in ("caching", "database", "serving", "logging") for word in ("--only", area)
    ]
    result = perf_check("-c", instance, "-f", "json", "--budget", "20", *areas)
    found = json.loads(result.stdout)
    assert result.returncode in (1, 5) and result.stderr == ""
    assert any(said in item["diagnosis"] for item in found), (
        f"nothing says that {use} does not load"
    )
    assert {"ok"} <= {item["severity"] for item in found if item["area"] == "database"}
    assert {"logging", "serving"} <= {item["area"] for item in found}


def test_directories_that_are_not_there_are_not_made(perf_check, instance):
    root = instance.parent
    shutil.rmtree(str(root / "repos"))
    shutil.rmtree(str(root / "data"), ignore_errors=True)
    before = _tree(root)
    result = perf_check("-c", instance, "--budget", "5")
    _readable(result)
    assert _tree(root) == before


def test_directories_that_may_not_be_written(perf_check, instance, without_privileges):
    root = instance.parent
    for name in ("data", "data/cache", "data/sessions"):
        (root / name).mkdir(exist_ok=True)
    before = _tree(root)
    closed = [path for path in [root, *root.rglob("*")] if path.is_dir()]
    for path in closed:
        path.chmod(0o555)
    try:
        result = perf_check("-c", instance, "--budget", "5", before=without_privileges)
    finally:
        for path in closed:
            path.chmod(0o755)
    _readable(result)
    assert result.returncode in (1, 5) and "not measured" in result.stdout
    assert _tree(root) == before


def test_links_in_a_circle_among_the_directories(perf_check, instance):
    root = instance.parent
    (root / "repos" / "circle").symlink_to("circle")
    (root / "repos" / "up").symlink_to("..")
    shutil.rmtree(str(root / "data"), ignore_errors=True)
    (root / "data").symlink_to("data")
    _readable(perf_check("-c", instance, "--budget", "5"))


def test_a_directory_of_10000_entries_and_broken_repositories(perf_check, instance):
    repositories = instance.parent / "repos"
    for number in range(10000):
        (repositories / ("entry-%d" % number)).mkdir()
    (repositories / "git-one" / "HEAD").write_bytes(b"\xff\xfe")
    shutil.rmtree(str(repositories / "git-two" / "objects"))
    (repositories / "hg-one" / ".hg" / "requires").write_text("no-such-format\n")
    (repositories / "hg-two" / ".hg" / "store" / "00changelog.i").write_bytes(b"\x00" * 10)
    _readable(perf_check("-c", instance, "--budget", "10"))


def _readable(result):
    """The report came, whatever it says."""
    assert result.returncode in (0, 1, 5), result.stderr
    assert result.stderr == "" and " checks (" in result.stdout
    assert "Traceback" not in result.stdout
    assert too_long(result.stdout) == []


def _tree(root: Path):
    return sorted(str(path) for path in root.rglob("*"))


def test_a_reader_that_leaves_changes_nothing_but_the_output(perf_check, toys, tmp_path):
    ini = toys(toy_level="error")
    result = perf_check("-c", ini, "--only", "TOY001", "--save", "kept.json", stdout="closed pipe")
    assert (result.returncode, result.stderr) == (1, "")
    (run,) = json.loads((tmp_path / "kept.json").read_text())["runs"]
    assert run["findings"][0]["check"] == "TOY001"
    assert perf_check("--list", stdout="closed pipe").returncode == 0


def test_output_that_cannot_be_written_is_told(perf_check, toys):
    with open("/dev/full", "w") as full:
        result = perf_check("-c", toys(), "--only", "TOY001", stdout=full)
    assert result.returncode == 4
    assert (
        result.stderr
        == "gearbox perf-check: the output cannot be written: No space left on device\n"
    )


def test_without_any_output_the_status_is_still_right(perf_check, toys):
    closed = ["sh", "-c", 'exec "$@" >&- 2>&-', "x"]
    result = perf_check("-c", toys(toy_level="error"), "--only", "TOY001", before=closed)
    assert result.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_the_terminal_does_not_have_are_written_in_ascii(perf_check, toys, encoding):
    ini = toys(toy_level="warning", toy_words="krank: \u0142\u2713 \x1b[31mred")
    result = perf_check("-c", ini, "--only", "TOY001", env={"PYTHONIOENCODING": encoding})
    assert (result.returncode, result.stderr) == (0, "")
    assert r"the bear is krank: \u0142\u2713 \x1b[31mred" in result.stdout
