"""Archives: judged by tables, and Kallithea's own download on a real instance."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping

import mounted
import pytest

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.storage.archives import Archives, KeptArchives, Move
from kallithea_tune.perf_check.storage.archives_checks import judge_kept, judge_move, kept_archives

NONE = KeptArchives(files=0, bytes=0, old_files=0, old_bytes=0, complete=True)


@pytest.mark.parametrize(
    "change, severity, words",
    [
        ({}, Severity.ok, "0 MB"),
        ({"bytes": 999_000_000}, Severity.ok, "999 MB"),
        (
            {"bytes": 5_000_000_000, "old_bytes": 1},
            Severity.advice,
            "take 5 GB, and none is ever deleted",
        ),
        ({"bytes": 5_000_000_000, "complete": False}, Severity.advice, "take at least 5 GB"),
    ],
)
def test_the_space_that_archives_take(
    change: Mapping[str, Any], severity: Severity, words: str
) -> None:
    found = judge_kept(replace(NONE, **change), "/srv/with blank")
    assert found.severity is severity and words in found.diagnosis
    assert ("'/srv/with blank'" in str(found.remedy)) is (severity is Severity.advice)


def test_a_copy_costs_and_a_rename_does_not() -> None:
    renamed = Move(ms=16.0, bytes=8_000_000, copied=False)
    assert judge_move(renamed, "/tmp", "/srv").severity is Severity.ok
    found = judge_move(replace(renamed, copied=True), "/tmp", "/srv")
    assert found.severity is Severity.advice and found.impact == "+200 ms per new archive of 100 MB"


def test_archives_are_judged_although_none_could_be_moved() -> None:
    findings = kept_archives.judge(Archives("/srv", NONE, "/tmp", not_moved="/tmp: No space left"))
    assert next(iter(findings)).subject == "kept"
    with pytest.raises(NotMeasured, match="No space left"):
        list(kept_archives.judge(Archives("/srv", NONE, "/tmp", not_moved="/tmp: No space left")))


@pytest.fixture
def report(gearbox: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def run(ini: Path, **environment: str) -> Any:
        done = gearbox(
            "perf-check",
            "-c",
            ini,
            "-f",
            "json",
            "--only",
            "STO005",
            cwd=str(tmp_path),
            env=dict(os.environ, **environment),
        )
        return {one["subject"]: one for one in json.loads(done.stdout)}

    return run


def test_archives_of_another_file_system_than_tmpdir_are_copied(
    instance: Path, report: Callable[..., Any], tmp_path: Path
) -> None:
    here = instance.parent
    (here / "data").mkdir()
    (tmp_path / "tmp").mkdir()
    assert report(instance, TMPDIR=str(tmp_path / "tmp"))["moved"]["severity"] == "ok"
    with mounted.tmpfs(here / "data" / "tarballcache", "size=80m") as kept:
        assert report(instance, TMPDIR=str(tmp_path / "tmp"))["moved"]["severity"] == "advice"
        assert not list(kept.iterdir())
    assert not list((tmp_path / "tmp").iterdir())


def test_the_line_for_cron_deletes_old_archives_only(
    instance: Path, report: Callable[..., Any]
) -> None:
    kept = instance.parent / "data" / "tarballcache"
    kept.mkdir(parents=True)
    then = time.time() - 60 * 86400
    for name in ("old-0123456789ab.zip", "new-0123456789ab.zip", "kept.txt"):
        (kept / name).write_bytes(b"x" if name != "old-0123456789ab.zip" else b"")
    subprocess.run(["fallocate", "-l", "1100M", str(kept / "old-0123456789ab.zip")], check=True)
    for name in ("old-0123456789ab.zip", "kept.txt"):
        os.utime(kept / name, (then, then))
    found = report(instance)["kept"]
    assert found["severity"] == "advice" and found["evidence"]["old"] == 1
    subprocess.run(found["remedy"].split("by cron: ", 1)[1], shell=True, check=True)
    assert sorted(entry.name for entry in kept.iterdir()) == ["kept.txt", "new-0123456789ab.zip"]


def test_without_the_setting_each_download_is_made_anew(
    instance: Path, report: Callable[..., Any], edit: Callable[[Path, str, str], Any]
) -> None:
    edit(instance, "archive_cache_dir =", "#archive_cache_dir =")
    assert report(instance)["kept"]["severity"] == "advice"


def test_a_directory_that_cannot_be_used_is_not_measured(
    instance: Path, report: Callable[..., Any]
) -> None:
    (instance.parent / "data").mkdir()
    (instance.parent / "data" / "tarballcache").write_text("a file")
    (found,) = report(instance).values()
    assert found["severity"] == "unknown" and "STO003" in found["diagnosis"]
