"""``--history``: the real command keeps its runs, and its page shows their trends."""

from __future__ import annotations

import json
import re
import shutil

import pytest

WORDS = ["--only", "TOY001", "--skip", "slow"]


@pytest.mark.once
def test_runs_are_kept_and_the_page_shows_what_got_worse(perf_check, toys, tmp_path):
    ini, page = toys(toy_cost="10"), tmp_path / "page.html"
    words = ["-c", ini, *WORDS, "--history", "runs", "--html", page]
    for number, cost in enumerate((10, 10, 100)):
        ini.write_text(re.sub("toy_cost = .*", f"toy_cost = {cost}", ini.read_text()))
        result = perf_check(*words, *(["-f", "json"] if number else []))
        assert (result.returncode, result.stderr) == (0, "")
        # A document for machines has no room for it.
        assert number and json.loads(result.stdout) or "\nKept as " in result.stdout
    kept = sorted((tmp_path / "runs").iterdir())
    assert len(kept) == 3
    text = page.read_text()
    assert "3 runs, from " in text and "TOY001: What the settings say of the toy" in text
    (notable,) = re.findall(r'<li class="worse"><a href="#[^"]+">([^<]+)', text)
    assert notable.startswith("bear, costs per game, ms (TOY001, my.ini): worse since ")
    assert notable.endswith("100 ms instead of 10 ms")
    since = perf_check("-c", ini, *WORDS, "--compare", kept[0])
    assert "worse: TOY001 10 -> 100 ms per game" in since.stdout


@pytest.mark.once
def test_several_instances_are_one_run_and_a_damaged_one_stops_nothing(perf_check, toys, tmp_path):
    first, page = toys(), tmp_path / "page.html"
    second = first.with_name("other.ini")
    shutil.copy(str(first), str(second))
    words = ["-c", first, "-c", second, *WORDS, "--history", tmp_path / "runs", "--html", page]
    assert perf_check(*words).returncode == 0
    (kept,) = (tmp_path / "runs").iterdir()
    kept.write_text(kept.read_text()[:-30])
    (tmp_path / "runs" / "n\x1b[2Jotes").write_text("mine")
    result = perf_check(*words)
    assert (result.returncode, result.stderr) == (0, "")
    said = " ".join(result.stdout.split())
    assert f"Note: 1 run of the history cannot be read, and is a gap: {kept.name}" in said
    assert r"Note: not a run of the history, and left out: n\x1b[2Jotes" in said
    machine = perf_check(*words, "-f", "csv")
    assert "cannot be read" in machine.stderr and "cannot be read" not in machine.stdout
    text = page.read_text()
    assert "(my.ini)</h3>" in text and "(other.ini)</h3>" in text
    assert "measured in 2 of 3 runs" in text and (tmp_path / "runs" / "n\x1b[2Jotes").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    "words, status, said",
    [
        (["--history", ""], 2, "--history is empty"),
        (["--history", "site"], 3, "everybody may write to"),
        (["--history", "my.ini"], 3, "is not a directory"),
        (["--history", "none/runs"], 2, "does not exist"),
        (["--history", "runs", "--history", "more"], 2, "it is given twice"),
        (
            ["--history", "runs", "--try", "debug=true"],
            2,
            "without --save, --compare and --history",
        ),
        (["--history", "runs", "--fix", "TOY001"], 2, "--fix and --history cannot be combined"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_before_measuring(
    perf_check, toys, tmp_path, words, status, said
):
    ini = toys()
    (tmp_path / "site").chmod(0o777)
    (tmp_path / "my.ini").touch()
    only = [] if "--fix" in words else WORDS
    result = perf_check("-c", ini, *only, *words)
    assert (result.returncode, result.stdout) == (status, "") and said in result.stderr
    assert not (tmp_path / "runs").exists()
