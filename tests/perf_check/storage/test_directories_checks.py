"""Judgements of file systems by tables, and the report of instances whose directories are in
trouble.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import mounted
import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.storage.directories_checks import (
    judge_mount,
    judge_place,
    judge_silent,
    judge_space,
)
from kallithea_tune.system.mounts import Mount

OK: Mapping[str, Any] = {
    "path": "/srv/repos",
    "exists": True,
    "error": "",
    "write_error": "",
    "real": "/srv/repos",
    "size": 1e12,
    "free": 5e11,
    "inodes": 10_000_000,
    "free_inodes": 9_000_000,
}


@pytest.mark.parametrize(
    "name, change, severity, said",
    [
        ("repositories", {}, None, ""),
        ("repositories", {"exists": False}, Severity.error, "does not exist"),
        ("index_dir", {"exists": False}, None, ""),
        ("index_dir", {"exists": False, "write_error": "EROFS"}, Severity.error, "read-only"),
        ("cache_dir", {"error": "ELOOP"}, Severity.error, "round in a circle"),
        ("cache_dir", {"error": "ENXIO"}, Severity.error, "ENXIO"),
        ("cache_dir", {"write_error": "EACCES"}, Severity.warning, "kallithea may not write"),
        ("cache_dir", {"write_error": "EDQUOT"}, Severity.error, "quota of kallithea"),
        ("cache_dir", {"write_error": "ENOSPC"}, None, ""),
    ],
)
def test_a_directory_that_cannot_be_used(
    name: str, change: Mapping[str, Any], severity: Optional[Severity], said: str
) -> None:
    found = judge_place(name, dict(OK, **change), "kallithea")
    assert [one.severity for one in found] == ([] if severity is None else [severity])
    assert all(said in one.diagnosis for one in found)


def test_a_mount_that_hangs_is_named_once() -> None:
    silent = {"silent": "it did not answer within 1 s", "point": "/srv"}
    found = judge_silent(
        {
            "repositories": dict(silent, path="/srv/repos"),
            "database": OK,
            "index_dir": dict(silent, path="/srv/index"),
            "sessions": dict(silent, point="/var"),
        }
    )
    assert [(one.subject, one.severity) for one in found] == [
        ("/srv", Severity.error),
        ("/var", Severity.error),
    ]
    assert found[0].diagnosis == "/srv hangs, and with it repositories, index_dir"


ALL = ["repositories", "database", "cache_dir"]
GOOD_NFS = "rw,hard,vers=4.1,local_lock=none,lookupcache=pos"


@pytest.mark.parametrize(
    "type, options, names, severities",
    [
        ("ext4", "rw,relatime", ALL, [Severity.ok]),
        ("ext4", "rw,sync", ALL, [Severity.warning]),
        ("nfs4", GOOD_NFS, ALL, [Severity.ok]),
        ("nfs4", "rw,hard,vers=4.1,local_lock=none", ALL, [Severity.advice]),
        ("nfs4", "rw,hard,vers=4.1,local_lock=none", ["cache_dir"], [Severity.ok]),
        ("nfs", GOOD_NFS.replace("none", "all"), ALL, [Severity.error]),
        ("nfs", GOOD_NFS.replace("none", "flock"), ALL, [Severity.error]),
        ("nfs", GOOD_NFS + ",nolock", ALL, [Severity.error]),
        ("nfs4", GOOD_NFS.replace("hard", "soft"), ALL, [Severity.warning]),
        ("nfs4", GOOD_NFS + ",nocto", ALL, [Severity.warning]),
        ("nfs4", GOOD_NFS.replace("4.1", "4.0"), ALL, [Severity.warning]),
        (
            "nfs4",
            GOOD_NFS.replace("hard", "soft") + ",nolock,sync",
            ALL,
            [Severity.error, Severity.warning],
        ),
        ("cifs", "rw,vers=3.1.1,soft", ALL, [Severity.ok]),
        ("cifs", "rw,vers=3.1.1,nobrl", ALL, [Severity.error]),
        ("tmpfs", "rw,size=1024k", ["sessions", "cache_dir"], [Severity.ok]),
        ("tmpfs", "rw,size=1024k", ALL, [Severity.error]),
        ("overlay", "rw", ["cache_dir"], [Severity.ok]),
        ("overlay", "rw", ALL, [Severity.warning]),
    ],
)
def test_file_systems_by_type_and_options(
    type: str, options: str, names: Any, severities: Any
) -> None:
    mount = Mount(1, "0:45", "/", "/srv", type, "files:/export", tuple(options.split(",")))
    found = judge_mount(mount, names, None)
    assert [one.severity for one in found] == severities
    assert all(
        bool(one.remedy) is (one.severity is not Severity.ok) and one.source for one in found
    )


@pytest.mark.parametrize(
    "change, severity, said",
    [
        ({}, Severity.ok, "50 % of /srv"),
        ({"free": 9e10}, Severity.ok, "9 %"),
        ({"size": 1e11, "free": 9e9}, Severity.warning, "9 % of /srv is free: 9 GB"),
        ({"size": 1e11, "free": 1.9e9}, Severity.error, "1.9 GB"),
        ({"size": 1e8, "free": 9e7}, Severity.ok, "90 %"),
        ({"inodes": 0, "free_inodes": 0}, Severity.ok, "50 %"),
        ({"free_inodes": 600_000}, Severity.ok, "50 %"),
        (
            {"free_inodes": 400_000},
            Severity.warning,
            "4 % of the inodes of /srv are free: room for 400000 files",
        ),
        ({"free_inodes": 0}, Severity.error, "0 files"),
        ({"free": 0}, Severity.error, "0 % of /srv"),
        ({"write_error": "ENOSPC"}, Severity.error, "50 % of /srv"),
        ({"size": 0, "free": 0, "inodes": 0}, Severity.ok, "does not say"),
    ],
)
def test_free_space_and_inodes(change: Mapping[str, Any], severity: Severity, said: str) -> None:
    found = judge_space(dict(OK, **change), "/srv")
    assert found.severity is severity and said in found.diagnosis


@pytest.fixture
def report(gearbox: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run checks on an ini file; return their findings."""

    def run(ini: Path, *words: object) -> Any:
        done = gearbox("perf-check", "-c", ini, "-f", "json", *words, cwd=str(tmp_path))
        return json.loads(done.stdout)

    return run


def test_a_healthy_instance(pristine: Path, report: Callable[..., Any]) -> None:
    found = report(pristine / "my.ini", "--only", "STO003", "--only", "STO004")
    assert {one["check"] for one in found} == {"STO003", "STO004"}
    holds = [name for one in found for name in one["evidence"].get("holds", ())]
    assert sorted(holds) == sorted(
        [
            "repositories",
            "database",
            "cache_dir",
            "index_dir",
            "sessions",
            "archives",
            "file cache",
            "cache locks",
        ]
    )


def test_one_directory_in_each_kind_of_trouble_and_the_others_are_looked_at(
    instance: Path, report: Callable[..., Any]
) -> None:
    here = instance.parent
    shutil.rmtree(here / "repos")
    (here / "data" / "cache").mkdir(parents=True)
    (here / "data" / "index").symlink_to(here / "data" / "index")
    with mounted.tmpfs(here / "data" / "sessions", "ro,size=1m"), mounted.tmpfs(
        here / "data" / "tarballcache", "size=64k"
    ) as archives:
        (archives / "full").write_bytes(b"x" * 65536)
        found = report(instance, "--only", "STO003", "--only", "STO004")
    bad = {
        (one["check"], Path(one["subject"]).name): one
        for one in found
        if one["severity"] == "error"
    }
    assert len(bad) == 4
    assert "does not exist" in bad["STO003", "repositories"]["diagnosis"]
    assert "round in a circle" in bad["STO003", "index_dir"]["diagnosis"]
    assert "read-only" in bad["STO003", "sessions"]["diagnosis"]
    assert "tarballcache is free: 0 MB" in bad["STO004", "tarballcache"]["diagnosis"]
    others = [
        one
        for one in found
        if one["severity"] == "ok" and "database" in one["evidence"].get("holds", ())
    ]
    assert others and "cache_dir" in others[0]["evidence"]["holds"]


def test_where_the_repositories_are_is_not_known_without_a_database(
    instance: Path, report: Callable[..., Any]
) -> None:
    (instance.parent / "kallithea.db").unlink()
    found = {one["subject"]: one for one in report(instance, "--only", "STO003")}
    assert found["repositories"]["severity"] == "unknown"
    assert any("database" in one["evidence"].get("holds", ()) for one in found.values())


def test_repositories_in_memory_are_an_error(instance: Path, report: Callable[..., Any]) -> None:
    here = instance.parent
    (here / "repos").rename(here / "kept")
    with mounted.tmpfs(here / "repos", "size=32m"):
        (found,) = [
            one for one in report(instance, "--only", "STO003") if one["severity"] == "error"
        ]
    assert "gone after a restart" in found["diagnosis"]


def test_a_container_s_layer_is_named(
    instance: Path, report: Callable[..., Any], tmp_path: Path
) -> None:
    here = instance.parent
    with mounted.tmpfs(tmp_path / "writable", "size=32m") as place:
        for name in ("upper", "work"):
            (place / name).mkdir()
        layers = "lowerdir={},upperdir={},workdir={}".format(
            here / "repos", place / "upper", place / "work"
        )
        with mounted.mount(here / "repos", "-t", "overlay", "-o", layers, "overlay"):
            found = [
                one for one in report(instance, "--only", "STO003") if one["severity"] == "warning"
            ]
    assert ["container's layer" in one["diagnosis"] for one in found] == [True]
