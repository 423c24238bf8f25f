"""--try: a proposed setting is measured by real requests and checks, and written nowhere."""

from __future__ import annotations

import subprocess

import pytest
from environment import BIN
from schemas import fits


def tried(perf_check, ini, *words):
    before = ini.read_bytes()
    result = perf_check("-c", ini, *words, "-f", "json")
    assert result.returncode in (0, 1), result.stderr
    assert ini.read_bytes() == before
    return result.returncode, {
        item["measured"]: item for item in fits(result.stdout, "perf-check-try")
    }


def test_static_files_are_seen_to_stop(perf_check, instance):
    status, seen = tried(
        perf_check, instance, "--try", "serve_static=false", "--only", "CFG001", "--budget", "120"
    )
    assert status == 0
    answer = seen["a static file, status"]
    assert (answer["before"], answer["after"], answer["verdict"]) == (200, 404, "changed")
    assert seen["start of the application"]["after"] > 0
    page = seen["front page"]
    assert page["difference_from"] <= page["after"] - page["before"] <= page["difference_to"]


@pytest.mark.once
def test_a_cache_region_switched_off_is_measured_slower(perf_check, instance):
    """A README that takes long to render shows what the cache saves."""
    repository = instance.parent / "repos" / "hg-two"
    text = "Some *text* with `links <https://example.com>`_.\n\n"
    (repository / "README.rst").write_text("Demo\n====\n\n" + text * 600)
    subprocess.run(
        [str(BIN / "hg"), "commit", "-q", "-m", "a long README", "-u", "demo"],
        cwd=str(repository),
        check=True,
    )
    words = [
        "--try",
        "beaker.cache.long_term_file.enabled=false",
        "--only",
        "CAC008",
        "--budget",
        "120",
    ]
    _, seen = tried(perf_check, instance, *words)
    assert seen["summary of hg-two"]["verdict"] == "slower"
    assert seen["summary of hg-two"]["difference_from"] > 0


def test_several_settings_of_several_sections_and_the_status_with_them(perf_check, instance):
    words = ["--try", "server:main.threads=4", "--try", "logger_sqlalchemy.level=DEBUG"]
    status, seen = tried(perf_check, instance, *words)
    threads = seen["WEB001 [server:main]"]
    assert status == 1 and threads["before"].startswith("ok: ")
    assert threads["after"].startswith("error: 4 threads") and threads["verdict"] == "worse"
    assert seen["CFG002"]["verdict"] == "worse"
    text = perf_check("-c", instance, *words).stdout
    assert text.startswith(
        "Tried, not written anywhere: [server:main] threads = 4 (now: 1)\nTried, not "
    )
    assert "\nWEB001 [server:main]: worse\n  before: ok: " in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_application_that_does_not_load_with_the_setting(perf_check, instance):
    secret = "unguessable"
    wanted = f"sqlalchemy.url=postgresql://me:{secret}@127.0.0.1:1/x"
    result = perf_check("-c", instance, "--try", wanted, "--only", "DB000", "--budget", "120")
    assert (
        result.returncode == 1
        and "\nthe application: worse\n  before: loads\n  after:  " in result.stdout
    )
    assert "\nDB000: worse\n" in result.stdout
    assert (
        secret not in result.stdout + result.stderr
        and "postgresql://me:***@127.0.0.1:1/x" in result.stdout
    )


@pytest.mark.parametrize(
    "words, said",
    [
        (["--try", "serve_static"], "--try reads NAME=VALUE"),
        (["--try", "=false"], "--try reads NAME=VALUE"),
        (
            ["--try", "server:mani.threads=3"],
            "there is no such section; the sections are server:main, app:main",
        ),
        (
            ["--try", "serve_statics=false"],
            "neither the ini file nor the code of egg:kallithea knows this option",
        ),
        (
            ["--try", "server:main.workers=3"],
            "neither the ini file nor the code of egg:waitress#main",
        ),
        (["--try", "cache_dir=%(no)s/x"], "has a broken %("),
        (["--try", "debug=true", "--save", "x"], "--try itself compares before and after"),
    ],
)
def test_a_slip_of_the_pen_is_refused_in_one_sentence(perf_check, pristine, words, said):
    result = perf_check("-c", pristine / "my.ini", *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr and result.stderr.count("\n") == 1
