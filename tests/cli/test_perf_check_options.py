"""Every option of perf-check, end to end on a real instance; the toys' findings are what the ini
file says.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import os

import pytest
import yaml

from kallithea_tune.perf_check.model import all_checks
from kallithea_tune.perf_check.pages import page
from kallithea_tune.perf_check.report import COLUMNS


def test_list_says_what_each_check_costs(perf_check, toys):
    toys()
    result = perf_check("--list", "--only", "toys", "--only", "CFG*", "--skip", "slow")
    assert (result.returncode, result.stderr) == (0, "")
    assert "TOY001" in result.stdout and "CFG001" in result.stdout and "TOY003" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    listed = json.loads(perf_check("--list", "-f", "json").stdout)
    assert {
        "check": "TOY003",
        "area": "toys",
        "title": "A toy that takes its time",
        "seconds": 2.0,
        "writes": "nothing",
        "tags": "slow",
    } in listed


@pytest.mark.parametrize("name", ["TOY001", "toy001", "toy-level"])
def test_explain_tells_all_of_the_docstring(perf_check, toys, name):
    toys()
    result = perf_check("--explain", name)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(
        "TOY001 (toy-level): What the settings say of the toy\n\nSay what"
    )
    assert "The second paragraph." in result.stdout


def test_every_check_is_listed_within_80_columns_and_explains_itself(perf_check):
    listed = perf_check("--list").stdout.splitlines()
    assert [line for line in listed if len(line) > 80] == []
    for item in all_checks():
        assert any(item.id in line for line in listed)
        assert len(page(item).split()) > 8, f"{item.id} does not explain itself"


@pytest.mark.parametrize(
    "words, said",
    [
        (["--explain", "XYZ"], "there is no check 'XYZ'; --list shows them"),
        (["--only", "XYZ*"], "no check matches 'XYZ*'"),
        (["--skip", "XYZ*"], "no check matches 'XYZ*'"),
        (["--only", "TOY003", "--no-probes"], "leave no check to run"),
        ([], "give the ini file"),
        (
            ["--list", "-f", "csv", "--column", "colour"],
            "there is no column 'colour'; the columns are check, area",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(perf_check, toys, words, said):
    toys()
    result = perf_check(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--budget", "soon"],
        ["--budget", "0"],
        ["--fail-on", "ok"],
        ["-f", "xml"],
        ["--compar-db", "postgresql://me:hunter22@db/x"],
    ],
)
def test_options_that_cannot_be_read_are_status_2(perf_check, words):
    result = perf_check(*words)
    assert result.returncode == 2 and "hunter22" not in result.stderr
    assert "gearbox perf-check: error:" in result.stderr and "positive_seconds" not in result.stderr


@pytest.mark.parametrize(
    "level, fail_on, status",
    [
        ("ok", "advice", 0),
        ("advice", "advice", 1),
        ("advice", "warning", 0),
        ("warning", "warning", 1),
        ("warning", "error", 0),
        ("error", "error", 1),
    ],
)
def test_fail_on_decides_the_exit_status(perf_check, toys, level, fail_on, status):
    result = perf_check("-c", toys(toy_level=level), "--only", "TOY001", "--fail-on", fail_on)
    assert (result.returncode, result.stderr) == (status, "")


def test_what_could_not_be_measured_has_a_status_of_its_own_below_findings(perf_check, toys):
    ini = toys(toy_hidden="yes", toy_level="warning")
    result = perf_check("-c", ini, "--only", "TOY001", "--only", "TOY002")
    assert result.returncode == 5 and "TOY002 unknown: not measured: it hides\n" in result.stdout
    assert perf_check("-c", ini, "--only", "TOY00[12]", "--fail-on", "warning").returncode == 1


def test_a_check_that_breaks_keeps_what_it_found_and_stops_no_other(perf_check, toys):
    result = perf_check(
        "-c", toys(toy_breaks="in two"), "--only", "toys", "--no-probes", "-f", "json"
    )
    found = {(item["check"], item["severity"]): item for item in json.loads(result.stdout)}
    assert set(found) == {
        ("TOY001", "ok"),
        ("TOY002", "ok"),
        ("TOY004", "advice"),
        ("TOY004", "unknown"),
    }
    assert found["TOY004", "unknown"]["diagnosis"] == "not measured: RuntimeError: in two"
    assert result.returncode == 5 and result.stderr == ""


@pytest.mark.alone
def test_the_budget_is_shared_and_what_was_measured_all_the_same_is_not_said_to_be_cut(
    perf_check, toys
):
    ini = toys()
    whole = perf_check("-c", ini, "--only", "TOY003", "--budget", "20")
    assert "Note" not in whole.stdout
    result = perf_check("-c", ini, "--only", "TOY003", "--budget", "1", "--all")
    assert "Note" not in result.stdout
    (share,) = [line for line in result.stdout.splitlines() if "seen: share" in line]
    assert float(share.split()[2]) <= 1.0
    nothing = perf_check("-c", ini, "--only", "TOY003", "--budget", "0.1")
    assert nothing.returncode == 5 and "the budget left no time for it" in nothing.stdout


def test_no_probes_reads_settings_only(perf_check, instance):
    for directory in ("repos", "data"):
        path = instance.parent / directory
        if path.exists():
            path.rename(path.with_name(directory + ".away"))
    (instance.parent / "kallithea.db").unlink()
    result = perf_check("-c", instance, "--no-probes", "-f", "json")
    assert result.returncode in (0, 1, 5) and result.stderr == ""
    areas = {item["area"] for item in json.loads(result.stdout)}
    assert {"caching", "serving", "logging"} <= areas
    assert not (instance.parent / "kallithea.db").exists()


def test_formats_hold_the_same_findings(perf_check, toys):
    ini = toys(toy_level="warning", toy_cost="146", toy_words='"quoted", ill')
    words = ["-c", ini, "--only", "TOY001"]
    documents = {
        name: perf_check(*words, "-f", name) for name in ("json", "yaml", "csv", "table", "value")
    }
    assert {result.returncode for result in documents.values()} == {0}
    assert {result.stderr for result in documents.values()} == {""}
    (finding,) = json.loads(documents["json"].stdout)
    assert tuple(finding) == COLUMNS
    assert finding["diagnosis"] == 'the bear is "quoted", ill' and finding["evidence"] == {
        "size_mb": 3.0
    }
    assert yaml.safe_load(documents["yaml"].stdout) == [finding]
    (row,) = csv.DictReader(io.StringIO(documents["csv"].stdout))
    assert (
        row["diagnosis"] == finding["diagnosis"]
        and row["evidence"] == "size 3 MB"
        and row["impact_ms"] == "146.0"
    )
    assert (
        finding["diagnosis"] in documents["table"].stdout
        and finding["diagnosis"] in documents["value"].stdout
    )


def test_a_table_fits_a_terminal_unless_columns_are_chosen(perf_check, toys):
    ini = toys(toy_level="warning", toy_words="large " * 20)
    words = ["-c", ini, "--only", "TOY001", "-f", "table"]
    table = perf_check(*words).stdout
    assert max(map(len, table.splitlines())) <= 80 and "confidence" not in table
    chosen = perf_check(*words, "--column", "diagnosis").stdout
    assert "large " * 19 in chosen


def test_columns_are_chosen_in_the_asked_order(perf_check, toys):
    words = [
        "-c",
        toys(toy_level="warning"),
        "--only",
        "TOY001",
        "--column",
        "severity",
        "--column",
        "check",
    ]
    assert perf_check(*words, "-f", "value").stdout == "warning TOY001\n"
    assert json.loads(perf_check(*words, "-f", "json").stdout) == [
        {"severity": "warning", "check": "TOY001"}
    ]
    wrong = perf_check("-c", toys(), "--only", "TOY001", "-f", "value", "--column", "colour")
    assert wrong.returncode == 2 and "no column 'colour'" in wrong.stderr


def test_all_shows_what_is_in_order_and_only_then(perf_check, toys):
    ini = toys()
    assert (
        "TOY001 ok: the bear is well\n" in perf_check("-c", ini, "--only", "TOY001", "--all").stdout
    )
    assert "TOY001" not in perf_check("-c", ini, "--only", "TOY001").stdout


@pytest.mark.parametrize(
    "level, cost, order",
    [
        ("advice", "10", ["TOY004", "TOY001"]),
        ("advice", "146", ["TOY001", "TOY004"]),
        ("warning", "10", ["TOY001", "TOY004"]),
    ],
)
def test_findings_are_ranked_by_level_then_by_cost(perf_check, toys, level, cost, order):
    result = perf_check("-c", toys(toy_level=level, toy_cost=cost), "--only", "toys", "--no-probes")
    assert [line.split()[0] for line in result.stdout.splitlines() if line[:3] == "TOY"] == order


def test_a_finding_is_its_diagnosis_cost_evidence_remedy_and_page(perf_check, toys):
    result = perf_check("-c", toys(toy_level="warning", toy_cost="146"), "--only", "TOY001")
    assert result.stdout.startswith("""\
toys         warning  the bear is well

TOY001 warning: the bear is well
  seen: +146 ms per game; size 3 MB; threshold 1 MB
  do:   set toy_level = ok
  more: gearbox perf-check --explain TOY001

0 errors, 1 warning, 0 advice, 0 unknown, 0 ok; 1 check in """)


def test_saved_findings_are_compared_later(perf_check, toys):
    ini, kept = toys(toy_level="warning", toy_cost="100"), "kept.json"
    words = ["-c", ini, "--only", "TOY*", "--skip", "slow"]

    def change(old, new):
        text = ini.read_text()
        assert old in text
        ini.write_text(text.replace(old, new))

    def since(*more):
        result = perf_check(*words, "--compare", kept, *more)
        assert result.returncode in (0, 5), result.stderr
        return result.stdout.partition(f"Since {kept}:\n")[2]

    assert perf_check(*words, "--save", kept).returncode == 0
    assert since() == "  nothing changed\n"
    change("toy_cost = 100", "toy_cost = 20")
    assert since() == "  better: TOY001 100 -> 20 ms per game: the bear is well\n"
    change("toy_level = warning", "toy_level = error\ntoy_hidden = yes")
    assert (
        since("--fail-on", "error", "--skip", "TOY001")
        == "  no longer measured: TOY002 ok -> unknown: "
        "not measured: it hides\n"
    )
    change("toy_level = error", "toy_level = ok")
    assert "better: TOY001 warning -> ok: the bear is well" in since()
    machine = perf_check(*words, "-f", "json", "--compare", kept)
    assert json.loads(machine.stdout) and "better: TOY001" in machine.stderr


def _saved(path):
    (place,) = json.loads(path.read_text())["runs"]
    return place


def test_save_is_whole_or_not_at_all(perf_check, toys, tmp_path):
    ini, kept = toys(toy_level="warning"), tmp_path / "kept.json"
    kept.touch()
    words = ["-c", ini, "--only", "TOY001", "--save"]
    full = perf_check(*words, "/dev/full")
    assert (
        full.returncode == 4
        and "No space left on device" in full.stderr
        and "the bear" in full.stdout
    )
    assert os.path.exists("/dev/full") and not os.path.isfile("/dev/full")
    link = tmp_path / "link.json"
    link.symlink_to(kept)
    kept.chmod(0o640)
    assert perf_check(*words, link).returncode == 0
    assert link.is_symlink() and _saved(kept)["checks"] == ["TOY001"]
    assert kept.stat().st_mode & 0o777 == 0o640
    assert not [name for name in os.listdir(str(tmp_path)) if name.startswith(".kallithea-tune-")]
    for wrong, said in ((tmp_path, "is a directory"), (tmp_path / "none" / "x", "does not exist")):
        early = perf_check(*words, wrong)
        assert early.returncode == 2 and said in early.stderr and early.stdout == ""


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"checks": [], "findings": [{"severity": "awful"}]}',
        '{"checks": 3, "findings": []}',
        "\x80",
    ],
)
def test_compare_with_something_else_is_refused_before_measuring(
    perf_check, instance, tmp_path, content
):
    (tmp_path / "other").write_text(content, encoding="latin-1")
    result = perf_check("-c", instance, "--no-probes", "--compare", tmp_path / "other")
    assert (result.returncode, result.stdout) == (2, "")
    assert "was not written by --save" in result.stderr and result.stderr.count("\n") == 1


def test_an_accepted_finding_stays_in_the_report_with_its_reason(perf_check, toys):
    ini = toys(toy_level="error", toy_hidden="yes")
    tomorrow = datetime.date.today() + datetime.timedelta(days=1)
    ini.write_text(
        ini.read_text()
        + f"[kallithea_tune]\nignore =\n    TOY001 until {tomorrow}: a 100% fine bear\n"
        "    TOY002: nobody looks\n    TOY9: a slip\n    TOY004 until 2020-02-29: long ago\n"
    )
    result = perf_check("-c", ini, "--only", "TOY*", "--no-probes")
    assert (result.returncode, result.stderr) == (0, "")
    assert "TOY001 ignored: the bear is well\n" in result.stdout
    assert f"  kept: a 100% fine bear (until {tomorrow})\n" in result.stdout
    assert "  kept: nobody looks\n" in result.stdout
    assert "Note: ignore = TOY004 expired on 2020-02-29\n" in result.stdout
    assert "Note: ignore = TOY9 matches no check; --list shows them\n" in result.stdout
    assert result.stdout.index("TOY004 advice") < result.stdout.index("TOY001 ignored")
    assert "0 errors, 0 warnings, 1 advice, 0 unknown, 0 ok, 2 ignored; " in result.stdout
    rows = json.loads(perf_check("-c", ini, "--only", "TOY001", "-f", "json").stdout)
    assert rows[0]["ignored"] == f"a 100% fine bear (until {tomorrow})"


@pytest.mark.parametrize(
    "line", ["TOY001", "TOY001:", "TOY001 until soon: why", "TOY001 until 2027-02-30: why"]
)
def test_ignoring_without_a_reason_is_refused(perf_check, toys, line):
    ini = toys()
    ini.write_text(ini.read_text() + f"[kallithea_tune]\nignore = {line}\n")
    result = perf_check("-c", ini, "--only", "TOY001")
    assert (result.returncode, result.stdout) == (2, "")
    assert "is not of the form 'ID: reason'" in result.stderr and result.stderr.count("\n") == 1
