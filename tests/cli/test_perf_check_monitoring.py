"""perf-check in a monitoring system: the plug-in's line and status, and the collector's file."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families


@pytest.mark.parametrize(
    "level, words, status, said",
    [
        ("ok", [], 0, "KALLITHEA OK - "),
        ("advice", [], 0, "KALLITHEA OK - "),
        ("advice", ["--fail-on", "advice"], 1, "KALLITHEA WARNING - TOY001 advice: the bear is"),
        ("warning", [], 1, "KALLITHEA WARNING - TOY001 warning: the bear is well"),
        ("error", ["--fail-on", "error"], 2, "KALLITHEA CRITICAL - TOY001 error: the bear is well"),
    ],
)
def test_the_plug_in_says_one_line_and_its_own_status(perf_check, toys, level, words, status, said):
    result = perf_check("-c", toys(toy_level=level), "--only", "TOY001", "-f", "nagios", *words)
    assert (result.returncode, result.stderr) == (status, "")
    assert result.stdout.startswith(said) and result.stdout.count("\n") == 1


def test_what_could_not_be_measured_is_unknown(perf_check, toys):
    result = perf_check("-c", toys(toy_hidden="yes"), "--only", "TOY002", "-f", "nagios")
    assert result.returncode == 3
    assert result.stdout.startswith("KALLITHEA UNKNOWN - not measured: TOY002 | ")


@pytest.mark.parametrize(
    "words, said",
    [
        (["-c", "none.ini"], "none.ini does not exist"),
        (["--list"], "-f nagios is for measuring, so --list has no such format"),
    ],
)
def test_a_failed_run_is_unknown_and_says_why_in_the_line(perf_check, words, said):
    result = perf_check(*words, "-f", "nagios")
    assert (result.returncode, result.stderr) == (3, "")
    assert result.stdout.startswith("KALLITHEA UNKNOWN - ") and said in result.stdout


def test_the_collector_gets_the_findings_beside_the_report(perf_check, toys, tmp_path):
    ini, path = toys(toy_level="warning", toy_cost="146"), tmp_path / "kallithea.prom"
    result = perf_check("-c", ini, "--only", "TOY001", "--prometheus", path)
    assert result.returncode == 0 and "the bear is well" in result.stdout
    families = {item.name: item for item in text_string_to_metric_families(path.read_text())}
    (grade,) = families["kallithea_tune_check_grade"].samples
    assert grade.value == 2 and grade.labels == {
        "ini": ini.name,
        "check": "TOY001",
        "area": "toys",
    }
    (impact,) = families["kallithea_tune_check_impact_seconds"].samples
    assert impact.value == pytest.approx(0.146)


def test_a_wrong_name_is_refused_before_anything_is_measured(perf_check, toys, tmp_path):
    result = perf_check("-c", toys(), "--only", "TOY003", "--prometheus", tmp_path / "k.txt")
    assert (result.returncode, result.stdout) == (2, "")
    assert "does not end in .prom" in result.stderr
