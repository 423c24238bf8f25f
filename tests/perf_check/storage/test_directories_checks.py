"""File systems judged by tables, and the report on instances whose directories are broken."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import mounted
import pytest
from healthy import OK

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.storage.directories import (
    Directories,
    Directory,
)
from kallithea_tune.perf_check.storage.directories_checks import (
    judge_directory,
    judge_hung,
    judge_mount,
)
from kallithea_tune.system.mounts import Mount


@pytest.mark.parametrize(
    "name, change, severity, words",
    [
        ("repositories", {}, None, ""),
        ("repositories", {"exists": False}, Severity.error, "does not exist"),
        ("index_dir", {"exists": False}, None, ""),
        ("index_dir", {"exists": False, "write_error": "EROFS"}, Severity.error, "read-only"),
        ("cache_dir", {"error": "ELOOP"}, Severity.error, "form a loop"),
        ("cache_dir", {"error": "ENXIO"}, Severity.error, "ENXIO"),
        ("cache_dir", {"write_error": "EACCES"}, Severity.warning, "kallithea may not write"),
        ("cache_dir", {"write_error": "EDQUOT"}, Severity.error, "quota of kallithea"),
        ("cache_dir", {"write_error": "ENOSPC"}, None, ""),
    ],
)
def test_a_directory_that_cannot_be_used(
    name: str, change: Mapping[str, Any], severity: Optional[Severity], words: str
) -> None:
    finding = judge_directory(name, replace(OK, **change), "kallithea")
    assert (finding.severity if finding else None) is severity
    assert not finding or words in finding.diagnosis


def test_a_mount_that_hangs_is_reported_once() -> None:
    def hung(path: str, mount: str) -> Directory:
        return Directory(path, no_answer="it did not answer within 1 s", hung_mount=mount)

    directories = Directories(
        {
            "repositories": hung("/srv/repos", "/srv"),
            "database": OK,
            "index_dir": hung("/srv/index", "/srv"),
            "sessions": hung("/var/sessions", "/var"),
        },
        "kallithea",
    )
    assert (directories.examined.count, directories.examined.total) == (1, 4)
    found = list(judge_hung(directories))
    assert [(finding.subject, finding.severity) for finding in found] == [
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
    type: str, options: str, names: Sequence[str], severities: Sequence[Severity]
) -> None:
    mount = Mount(1, "0:45", "/", "/srv", type, "files:/export", tuple(options.split(",")))
    found = list(judge_mount(mount, names, None))
    assert [finding.severity for finding in found] == severities
    for finding in found:
        assert bool(finding.remedy) is (finding.severity is not Severity.ok) and finding.source


@pytest.fixture
def report(gearbox: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run checks on an ini file; return their findings."""

    def run(ini: Path, *arguments: object) -> Any:
        done = gearbox("perf-check", "-c", ini, "-f", "json", *arguments, cwd=str(tmp_path))
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


def test_each_broken_directory_is_reported_and_the_others_are_examined(
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
    assert "form a loop" in bad["STO003", "index_dir"]["diagnosis"]
    assert "read-only" in bad["STO003", "sessions"]["diagnosis"]
    assert "tarballcache is free: 0 MB" in bad["STO004", "tarballcache"]["diagnosis"]
    others = [
        one
        for one in found
        if one["severity"] == "ok" and "database" in one["evidence"].get("holds", ())
    ]
    assert others and "cache_dir" in others[0]["evidence"]["holds"]


def test_the_directory_of_the_repositories_is_unknown_without_a_database(
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


def test_a_container_s_layer_is_reported(
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
