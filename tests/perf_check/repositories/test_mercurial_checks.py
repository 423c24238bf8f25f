"""What is said of Mercurial repositories, judged by tables and on real ones."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import pytest
from environment import BIN

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories import mercurial
from kallithea_tune.perf_check.repositories.mercurial_checks import (
    SLOW_PATH,
    judge_branch_cache,
    judge_format,
    judge_nodemap,
)
from kallithea_tune.system import child

ENVIRONMENT = dict(
    os.environ,
    HGPLAIN="1",
    HGRCPATH="",
    HGUSER="me",
    PATH="{}{}{}".format(BIN, os.pathsep, os.environ["PATH"]),
)
NEW = ("dotencode", "fncache", "generaldelta", "revlogv1", "sparserevlog", "store")
TODAY: Mapping[str, Any] = {
    "name": "one",
    "kind": "hg",
    "bytes": 99_000_000,
    "requires": NEW,
    "revisions": 10,
    "manifest_bytes": 1000,
    "cached_revision": 9,
    "cache_writable": True,
    "slow_path": "",
}


def hg(*words: object, cwd: Optional[Path] = None) -> str:
    """Run this environment's Mercurial."""
    return subprocess.run(
        [str(BIN / "hg"), *map(str, words)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        universal_newlines=True,
        cwd=str(cwd) if cwd else None,
    ).stdout


def survey(*changes: Mapping[str, Any], rust: bool = False, storage: str = "") -> Mapping[str, Any]:
    """Return the survey of repositories that differ from a sound one by `changes`."""
    repositories = [{**TODAY, **change} for change in changes]
    return {
        "root": "/srv",
        "kinds": {"hg": len(changes), "git": 0},
        "examined": repositories,
        "ordered": True,
        "rust": rust,
        "storage": {SLOW_PATH: storage} if storage else {},
    }


def without(*names: str) -> tuple[str, ...]:
    """Return the requirements of today but for `names`."""
    return tuple(name for name in NEW if name not in names)


@pytest.mark.parametrize(
    "change, severity, words",
    [
        ({}, Severity.ok, ""),
        (
            {"requires": without("generaldelta", "sparserevlog"), "bytes": 9_000_000},
            Severity.ok,
            "",
        ),
        (
            {"requires": without("sparserevlog")},
            Severity.advice,
            "debugupgraderepo --run -o re-delta-parent",
        ),
        (
            {"requires": without("sparserevlog"), "manifest_bytes": 60_000_000},
            Severity.advice,
            "debugupgraderepo",
        ),
        (
            {"requires": without("generaldelta"), "manifest_bytes": 60_000_000},
            Severity.warning,
            "debugupgraderepo",
        ),
        ({"requires": ("revlogv1",)}, Severity.advice, "hg clone --pull -U /srv/one /srv/one.new"),
    ],
)
def test_formats(change: Mapping[str, Any], severity: Severity, words: str) -> None:
    found = judge_format(survey(change))
    assert found.severity is severity and words in found.remedy


MAPPED = (*NEW, "persistent-nodemap")


@pytest.mark.parametrize(
    "found, severity, words",
    [
        (survey({}), Severity.ok, ""),
        (survey({"revisions": 999_999}), Severity.ok, ""),
        (survey({"revisions": 99_999}, rust=True), Severity.ok, ""),
        (survey({"revisions": None}, rust=True), Severity.ok, ""),
        (
            survey({"revisions": 100_000}, rust=True),
            Severity.advice,
            "format.use-persistent-nodemap=yes",
        ),
        (survey({"revisions": 100_000, "requires": MAPPED}, rust=True), Severity.ok, ""),
        (survey({"requires": MAPPED}), Severity.error, "slow-path=allow"),
        (survey({"requires": MAPPED}, storage="abort"), Severity.error, "slow-path=allow"),
        (survey({"requires": MAPPED}, storage="allow"), Severity.advice, "slow-path=allow"),
        (survey({"requires": MAPPED, "slow_path": "warn"}), Severity.advice, "slow-path=allow"),
    ],
)
def test_a_nodemap_is_advised_with_rust_only(
    found: Mapping[str, Any], severity: Severity, words: str
) -> None:
    judged = judge_nodemap(found)
    assert judged.severity is severity and words in judged.remedy
    assert found["rust"] or "nodemap=yes" not in judged.remedy


@pytest.mark.parametrize(
    "change, times, severity",
    [
        ({}, {}, Severity.ok),
        ({"cached_revision": -1, "cache_writable": False}, {"one": [49.0, 80.0]}, Severity.ok),
        ({"cached_revision": -1, "cache_writable": False}, {"one": [51.0, 80.0]}, Severity.warning),
    ],
)
def test_branch_caches(
    change: Mapping[str, Any], times: Mapping[str, Any], severity: Severity
) -> None:
    found = judge_branch_cache(survey(change), times)
    assert found.severity is severity
    assert found.impact_ms == (51.0 if severity is Severity.warning else None)


def checked(gearbox: Callable[..., Any], instance: Path, name: str, cwd: Path) -> Any:
    """Return the one finding of a check on a real installation."""
    (found,) = json.loads(
        gearbox("perf-check", "-c", instance, "--only", name, "-f", "json", cwd=cwd).stdout
    )
    return found


def remade(path: Path, *settings: str) -> None:
    """Make a repository anew in the format that `settings` of Mercurial give."""
    old = path.with_name(path.name + ".old")
    path.rename(old)
    hg(
        "clone",
        "-q",
        "--pull",
        "-U",
        *(word for setting in settings for word in ("--config", setting)),
        old,
        path,
    )
    shutil.rmtree(str(old))


def test_an_old_format_is_seen_and_its_remedy_mends_it(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    path = instance.parent / "repos" / "hg-one"
    remade(path, "format.usegeneraldelta=no", "format.sparse-revlog=no")
    facts = mercurial.examine(str(path), float("inf"), mercurial.supported())
    assert not {"generaldelta", "sparserevlog"} & set(facts["requires"])
    assert checked(gearbox, instance, "HG001", tmp_path)["evidence"]["old_format"] == 1
    remedy = judge_format(
        dict(survey(dict(facts, kind="hg", name="hg-one", bytes=99_000_000)), root=str(path.parent))
    )
    subprocess.run(
        shlex.split(remedy.remedy), env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL
    )
    assert checked(gearbox, instance, "HG001", tmp_path)["evidence"]["old_format"] == 0
    assert "12 changesets" in hg("-R", path, "verify")


def test_mercurial_refuses_a_nodemap_and_the_remedy_opens_the_repository(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    assert not mercurial.rust()
    path = instance.parent / "repos" / "hg-one"
    remade(path, "format.use-persistent-nodemap=yes", f"storage.{SLOW_PATH}=allow")
    with pytest.raises(subprocess.CalledProcessError):
        hg("-R", path, "log")
    found = checked(gearbox, instance, "HG002", tmp_path)
    assert found["severity"] == "error" and "hg-one" in found["diagnosis"]
    (path / ".hg" / "hgrc").write_text(f"[storage]\n{SLOW_PATH} = allow\n")
    assert checked(gearbox, instance, "HG002", tmp_path)["severity"] == "advice"
    (path / ".hg" / "hgrc").unlink()
    subprocess.run(
        shlex.split(found["remedy"]), env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL
    )
    assert (
        hg("-R", path, "log") and checked(gearbox, instance, "HG002", tmp_path)["severity"] == "ok"
    )


def test_a_branch_cache_that_cannot_be_written_is_seen(instance: Path) -> None:
    path = instance.parent / "repos" / "hg-one"
    cache = path / ".hg" / "cache"
    hg("-R", path, "branches")
    facts = mercurial.examine(str(path), float("inf"), None)
    assert (facts["cached_revision"], facts["cache_writable"]) == (11, True)
    for file in cache.iterdir():
        file.unlink()
    cache.chmod(0o555)
    facts = mercurial.examine(str(path), float("inf"), None)
    assert (facts["cached_revision"], facts["cache_writable"]) == (-1, False)


def test_branches_are_timed_and_nothing_is_written(instance: Path, tmp_path: Path) -> None:
    path = instance.parent / "repos" / "hg-one"
    shutil.rmtree(str(path / ".hg" / "cache"))
    # Its own configuration is not obeyed: this would fail.
    (path / ".hg" / "hgrc").write_text(
        "[extensions]\nnone = /nowhere.py\n[hooks]\npre-debug = false\n"
    )
    before = sorted((str(file), file.lstat().st_mtime_ns) for file in path.rglob("*"))
    place = tmp_path / "scratch"
    place.mkdir()
    times = child.call(
        "kallithea_tune.perf_check.repositories.mercurial:branch_times",
        30,
        path=str(path),
        directory=str(place),
        within=5,
    )
    assert len(times) == 3 and min(times) > 0
    assert sorted((str(file), file.lstat().st_mtime_ns) for file in path.rglob("*")) == before
