"""Archives that were not finished: Kallithea's own, cut short, and served so until removed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from carry_out import carry_out

from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.storage.half_made import HalfMade, survey
from kallithea_tune.perf_check.storage.half_made_checks import judge_left, unfinished

_DOWNLOAD = """
import sys
from paste.deploy import loadapp
app = loadapp("config:" + sys.argv[1])
from webob import Request
for path in sys.argv[2:]:
    answer = Request.blank(path).get_response(app)
    assert answer.status_int == 200, answer.status
    sys.stdout.buffer.write(answer.body)
"""


def download(ini: Path, *names: str) -> bytes:
    """Have the real application serve archives."""
    paths = [f"/git-one/archive/{name}" for name in names]
    done = subprocess.run(
        [sys.executable, "-c", _DOWNLOAD, str(ini), *paths],
        cwd=str(ini.parent),
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


def settle(path: Path) -> None:
    then = time.time() - 3600
    os.utime(str(path), (then, then))


def found(archives: Path, temporary: Path) -> dict[str, Finding]:
    measured = survey(str(archives), str(temporary), 60.0)
    return {finding.subject: finding for finding in unfinished.judge(measured)}


@pytest.mark.once
def test_an_archive_that_is_cut_short_is_found_removed_and_made_anew(
    instance: Path, tmp_path: Path
) -> None:
    kinds = ("zip", "tar.gz", "tar.bz2")
    (tmp_path / "tmp").mkdir()
    connection = sqlite3.connect(str(instance.parent / "kallithea.db"))
    connection.execute("UPDATE repositories SET downloads = 1")
    connection.commit()
    connection.close()
    complete = download(instance, *(f"master.{kind}" for kind in kinds))
    archives = instance.parent / "data" / "tarballcache"
    paths = sorted(archives.iterdir())
    assert len(paths) == 3
    for path in paths:
        settle(path)
    assert found(archives, tmp_path / "tmp")["kept"].severity is Severity.ok
    for path in paths:
        path.write_bytes(path.read_bytes()[:-30])
    # These may be half copied, and still grow.
    assert found(archives, tmp_path / "tmp")["kept"].evidence["archives"] == 0
    for path in paths:
        settle(path)
    # What the check says is true: this is what users get.
    assert len(download(instance, *(f"master.{kind}" for kind in kinds))) == len(complete) - 90
    finding = found(archives, tmp_path / "tmp")["kept"]
    assert finding.severity is Severity.warning and "3 archives are cut short" in finding.diagnosis
    carry_out(finding.remedy, instance)
    assert found(archives, tmp_path / "tmp")["kept"].severity is Severity.ok
    again = download(instance, *(f"master.{kind}" for kind in kinds))
    assert len(again) == pytest.approx(len(complete), abs=30)


def test_what_is_left_in_tmpdir_is_found_and_removed(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for name, content in (
        ("tmpabcdefgh", b"PK\x03\x04"),
        ("tmp_1234567", b"\x1f\x8b\x08\x00"),
        ("tmpijklmnop", b"text"),
        ("other.zip", b"PK\x03\x04"),
        ("tmpnewnewne", b"PK\x03\x04"),
    ):
        (tmp_path / name).write_bytes(content + b"x" * 1000)
        if "new" not in name:
            settle(tmp_path / name)
    subprocess.run(["fallocate", "-l", "110M", str(tmp_path / "tmpabcdefgh")], check=True)
    settle(tmp_path / "tmpabcdefgh")
    finding = found(tmp_path / "none", tmp_path)["left"]
    assert finding.severity is Severity.advice and finding.evidence["files"] == 2
    carry_out(finding.remedy, tmp_path / "my.ini")
    assert found(tmp_path / "none", tmp_path)["left"].severity is Severity.ok
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "none",
        "other.zip",
        "tmpijklmnop",
        "tmpnewnewne",
    ]


def test_no_time_is_not_a_verdict(tmp_path: Path) -> None:
    for kind in ("zip", "tar.gz"):
        path = tmp_path / f"git-one-0123456789ab.{kind}"
        path.write_bytes(b"")
        settle(path)
    measured = survey(str(tmp_path), str(tmp_path), -1.0)
    assert measured.examined.nothing and measured.cut == ()


def test_the_space_is_judged() -> None:
    measured = HalfMade(left=("/tmp/a",), left_bytes=99_000_000)
    assert judge_left(measured).severity is Severity.ok
    found = judge_left(replace(measured, left_bytes=100_000_000))
    assert "1 unfinished archive" in found.diagnosis and "takes" in found.diagnosis
