"""The directory of runs: names that never collide, and nothing in it that stops a report."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import re
from pathlib import Path
from typing import Iterator

import pytest

from kallithea_tune.errors import ConfigError, Refused, TuneError
from kallithea_tune.perf_check import history, saved_run
from kallithea_tune.perf_check.formats.trends import Figure, History
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import (
    Band,
    Curve,
    Level,
    Matrix,
    Place,
    PlacedRun,
    Results,
    Row,
    Rule,
    Silent,
)
from kallithea_tune.perf_check.runner import Run

P99 = Figure("my.ini", "STO001", "/", "p99_ms")
NAME = "20261127T1605{:02}.000000Z-00000000.json"


def results(value: object = 1.5, place: str = "my.ini") -> Results:
    finding = Finding(Severity.ok, "fine", "/", {"p99_ms": value}, check="STO001", area="storage")
    return Results((PlacedRun(Place(place), Run([finding], 1.0, checks=("STO001",))),))


def put(directory: Path, number: int, content: object) -> Path:
    path = directory / NAME.format(number)
    text = content if isinstance(content, str) else saved_run.document(results(content))
    path.write_text(text)
    return path


def row(found: History) -> "list[object]":
    """The values of the figure, None for a gap."""
    return [None if math.isnan(value) else value for value in found.figures.get(P99, ())]


def test_each_run_is_a_private_file_and_they_are_read_in_their_order(tmp_path: Path) -> None:
    directory = history.place(str(tmp_path / "runs"))
    assert not os.path.exists(directory)
    kept = [history.keep(results(value), directory) for value in (3.0, 1.0, 2.0)]
    assert sorted(os.listdir(directory)) == [os.path.basename(path) for path in kept]
    assert os.stat(directory).st_mode & 0o777 == 0o700
    assert {os.stat(path).st_mode & 0o777 for path in kept} == {0o600}
    found = history.read(directory)
    assert (row(found), found.total, found.notes) == ([3.0, 1.0, 2.0], 3, ())
    assert list(found.times) == sorted(found.times)
    # Each is one that --save might have written.
    assert saved_run.read(kept[0]).places[0].checks == {"STO001"}


def _keep(directory: str) -> "list[str]":
    return [history.keep(results(), directory) for _ in range(20)]


def test_processes_that_keep_at_once_lose_nothing(tmp_path: Path) -> None:
    directory = str(tmp_path / "runs")
    with multiprocessing.get_context("fork").Pool(4) as pool:
        kept = [path for paths in pool.map(_keep, [directory] * 4) for path in paths]
    assert len(set(kept)) == 80 and history.read(directory).total == 80
    assert sorted(os.listdir(directory)) == sorted(map(os.path.basename, kept))


def test_two_runs_of_one_name_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history.secrets, "token_hex", lambda count: "0" * 2 * count)
    kept = history.keep(results(1.0), str(tmp_path))
    before = Path(kept).read_bytes()
    monkeypatch.setattr(history, "_STAMP", os.path.basename(kept).partition("-")[0])
    with pytest.raises(TuneError, match="exists"):
        history.keep(results(2.0), str(tmp_path))
    assert Path(kept).read_bytes() == before and os.listdir(str(tmp_path)) == [Path(kept).name]


def test_a_saved_run_has_all_places_and_loads(tmp_path: Path) -> None:
    placed = (*results(1.0).runs, PlacedRun(Place("my.ini", "web2"), results(2.0).runs[0].run))
    level = Level(4, (10.0, 14.0, 11.0), tuple(map(float, range(200))), 200, 3, 0.1)
    path = history.keep(Results(placed, curves=(Curve("SQLite", (level,)),)), str(tmp_path))
    found = history.read(str(tmp_path)).figures
    assert {figure.place for figure in found} == {"my.ini", "my.ini on web2"}
    loads = {figure.name: values[0] for figure, values in found.items() if figure.check == "load"}
    assert loads == {
        "requests_per_s": 11.0,
        "p50_ms": 100.0,
        "p95_ms": 190.0,
        "p99_ms": 198.0,
        "errors": 3.0,
    }
    assert [str(item.place) for item in saved_run.read(path).places] == ["my.ini", "my.ini on web2"]


def _damaged() -> "Iterator[str]":
    whole = saved_run.document(results())
    yield ""
    yield whole[:-20]
    yield "[" * 100_000
    yield '{"runs": []}'
    yield '{"runs": 3}'
    yield '{"format": 2, "runs": [{"checks": [], "findings": [{"severity": "awful"}]}]}'
    yield whole.replace('"impact_ms": null', '"impact_ms": "x"')
    yield whole.replace(
        '"loads": []', '"loads": [{"subject": "x", "workers": 1e999, "figures": {}}]'
    )
    yield "\x00"


@pytest.mark.parametrize("content", _damaged(), ids=itertools.count())
def test_a_damaged_run_is_a_gap_and_said_in_one_sentence(tmp_path: Path, content: str) -> None:
    put(tmp_path, 1, 1.0)
    damaged = put(tmp_path, 2, content)
    put(tmp_path, 3, 3.0)
    found = history.read(str(tmp_path))
    assert row(found) == [1.0, None, 3.0]
    assert found.notes == (f"1 run of the history cannot be read, and is a gap: {damaged.name}",)


def test_numbers_that_are_none_are_gaps_and_long_ones_cost_no_time(tmp_path: Path) -> None:
    whole = saved_run.document(results(1.5))
    for number, value in enumerate(("NaN", "1e999", '"1"', "true", "null", "9" * 300_000)):
        put(tmp_path, number, whole.replace("1.5", value))
    put(tmp_path, 8, 4.0)
    found = history.read(str(tmp_path))
    assert row(found) == [None] * 6 + [4.0] and not found.notes


def test_what_is_no_run_is_left_out_and_named(tmp_path: Path) -> None:
    put(tmp_path, 1, 1.0)
    outside = tmp_path.parent / "outside.json"
    outside.write_text(saved_run.document(results(9.0)))
    (tmp_path / NAME.format(2)).symlink_to(outside)
    os.mkfifo(str(tmp_path / NAME.format(3)))
    (tmp_path / NAME.format(4)).mkdir()
    (tmp_path / "20261399T160501.000000Z-00000000.json").write_text("{}")
    (tmp_path / "99991231T235959.999999Z-00000000.json.bak").write_text("{}")
    (tmp_path / "a\nb\x1b[2J<script>.json").write_text("{}")
    (tmp_path / ".kallithea-tune-new-0123456789abcdef").mkdir()
    found = history.read(str(tmp_path))
    assert row(found) == [1.0] and found.total == 1
    assert len(found.notes) == 1 and found.notes[0].endswith("and 3 more")


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 1, 1.0)
    put(tmp_path, 2, saved_run.document(results(2.0)) + " " * 5000)
    monkeypatch.setattr(history, "BYTES", 5000)
    assert row(history.read(str(tmp_path))) == [1.0, None]


def test_the_newest_thousand_runs_are_read(tmp_path: Path) -> None:
    text = saved_run.document(results(0.5))
    for number in range(1100):
        name = f"20261127T16{number // 60:02}{number % 60:02}.000000Z-00000000.json"
        (tmp_path / name).write_text(text.replace("0.5", str(number)))
    found = history.read(str(tmp_path))
    assert (len(found.times), found.total) == (1000, 1100)
    assert row(found) == list(map(float, range(100, 1100)))


def test_out_of_time_the_newest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        put(tmp_path, number, float(number))
    monkeypatch.setattr(history, "SECONDS", -1.0)
    found = history.read(str(tmp_path))
    assert (row(found), found.total) == ([4.0], 5)


def test_figures_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = json.loads(saved_run.document(results(1.0)))
    many["runs"][0]["findings"][0]["evidence"] = {f"a{number}": number for number in range(30)}
    put(tmp_path, 1, json.dumps(many))
    put(tmp_path, 2, 2.0)
    monkeypatch.setattr(history, "FIGURES", 10)
    found = history.read(str(tmp_path))
    assert len(found.figures) == 10 and row(found) == [None, 2.0]
    assert found.notes == ("more than 10 figures; those of the newest runs are read",)


def test_only_a_directory_of_ones_own_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Refused, match="--history .*file is not a directory"):
        history.place(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="does not exist"):
        history.place(str(tmp_path / "missing" / "runs"))
    tmp_path.chmod(0o1777)
    with pytest.raises(Refused, match="everybody may write to"):
        history.place(str(tmp_path))
    # What became unsafe after it was examined is refused as well.
    with pytest.raises(Refused):
        history.keep(results(), str(tmp_path))
    assert os.listdir(str(tmp_path)) == ["file"]


def test_a_directory_that_is_a_link_by_now_is_not_followed(tmp_path: Path) -> None:
    directory = history.place(str(tmp_path / "runs"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "elsewhere")
    os.chown(str(tmp_path / "runs"), 1234, 1234, follow_symlinks=False)
    with pytest.raises(Refused, match="that another user created"):
        history.keep(results(), directory)
    assert os.listdir(str(tmp_path / "elsewhere")) == []


def test_a_run_of_the_first_format_is_compared_with(tmp_path: Path) -> None:
    content = json.loads(saved_run.document(results()))["runs"][0]
    old = {"format": 1, "checks": content["checks"], "findings": content["findings"]}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old, indent=1))
    assert saved_run.read(str(path)).places[0].checks == {"STO001"}
    assert saved_run.OUTPUT.recognises(path.read_bytes())
    assert saved_run.OUTPUT.recognises(saved_run.document(results()).encode())
    assert re.match(r"\{\n \"format\": 2,\n \"runs\": \[", saved_run.document(results()))


def test_a_document_has_matrix_curves_and_who_was_silent() -> None:
    level = Level(2, (5.0, 6.0), (10.0, 20.0), 11, 1, 0.25)
    curve = Curve("SQLite", (level,), (Band(2, 4.0, 5.0, 6.0),), 2, ("a note",), 7)
    row = Row("session.secret", ("A", "B"), Rule.must_be_equal, Severity.error, "SCA002")
    found = Results(
        results().runs,
        (Silent("celery@a", "gone"),),
        Matrix(("1.ini", "2.ini"), (row,)),
        (curve,),
    )
    content = json.loads(saved_run.document(found))
    assert content["silent"] == [{"machine": "celery@a", "reason": "gone"}]
    assert content["matrix"]["rows"] == [
        {
            "setting": "session.secret",
            "values": ["A", "B"],
            "rule": "must be equal",
            "severity": "error",
            "check": "SCA002",
        }
    ]
    (saved,) = content["curves"]
    assert saved["levels"][0]["requests_s"] == [5.0, 6.0] and saved["peak"] == 2
    assert saved["bands"] == [{"workers": 2, "low": 4.0, "estimate": 5.0, "high": 6.0}]
    assert saved["notes"] == ["a note"] and saved["worker_bytes"] == 7
