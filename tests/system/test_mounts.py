from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kallithea_tune.system import mounts

LINES = (
    r"""27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
"""
    r"42 27 0:45 / /srv/with\040blank rw,noatime shared:7 master:2 "
    "- nfs4 files:/export rw,vers=4.1,hard,local_lock=none"
    r"""
43 27 0:46 /deep /mnt rw - tmpfs  rw,size=4k
44 27 0:47 / /odd rw - fuse.x none
not a mount
"""
)


def test_a_line_is_split_at_the_dash_after_any_number_of_optional_fields() -> None:
    root, nfs, tmpfs, odd = mounts.parse(LINES)
    assert (root.id, root.device, root.point, root.type, root.source) == (
        27,
        "254:0",
        "/",
        "ext4",
        "/dev/vda1",
    )
    assert root.options == ("rw", "relatime", "errors=remount-ro")
    assert nfs.point == "/srv/with blank" and nfs.source == "files:/export"
    assert (tmpfs.root, tmpfs.type, tmpfs.source) == ("/deep", "tmpfs", "")
    assert odd.options == ("rw",)


@pytest.mark.parametrize(
    "name, value", [("vers", "4.1"), ("hard", ""), ("soft", None), ("local_lock", "none")]
)
def test_an_option_has_a_value_or_is_bare_or_missing(name: str, value: object) -> None:
    assert mounts.parse(LINES)[1].option(name) == value


def test_the_real_table_has_the_root() -> None:
    assert any(mount.point == "/" for mount in mounts.table())


def test_the_mount_is_the_one_the_kernel_resolves_symbolic_links_included(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/proc")
    found = mounts.holding(str(link), mounts.table())
    assert found is not None and found.type == "proc"


def test_a_file_is_not_a_directory_that_a_mount_holds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        mounts.holding(str(tmp_path / "file"), mounts.table())


def test_it_agrees_with_findmnt(tmp_path: Path) -> None:
    found = mounts.holding(str(tmp_path), mounts.table())
    shown = subprocess.run(
        ["findmnt", "-n", "-o", "TARGET,FSTYPE", "-T", str(tmp_path)],
        stdout=subprocess.PIPE,
        check=True,
        universal_newlines=True,
    ).stdout.split()
    assert found is not None and [found.point, found.type] == shown


def test_a_partition_rotates_as_its_disk_does(tmp_path: Path) -> None:
    disk = tmp_path / "devices" / "sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "queue").mkdir()
    (disk / "queue" / "rotational").write_text("1\n")
    (tmp_path / "dev" / "block").mkdir(parents=True)
    (tmp_path / "dev" / "block" / "8:1").symlink_to(disk / "sda1")
    mount = mounts.Mount(1, "8:1", "/", "/", "ext4", "none", ())
    assert mounts.rotational(mount, str(tmp_path)) is True
    (disk / "queue" / "rotational").write_text("0\n")
    assert mounts.rotational(mount, str(tmp_path)) is False


def test_memory_and_network_do_not_rotate() -> None:
    assert (
        mounts.rotational(mounts.Mount(1, "0:45", "/", "/srv", "nfs4", "files:/export", ())) is None
    )


def test_the_disk_of_this_machine_agrees_with_lsblk(tmp_path: Path) -> None:
    found = mounts.holding(str(tmp_path), mounts.table())
    assert found is not None
    device = os.stat(tmp_path).st_dev
    result = subprocess.run(
        ["lsblk", "-n", "-r", "-o", "MAJ:MIN,ROTA"], stdout=subprocess.PIPE, universal_newlines=True
    )
    rotating = dict(line.split() for line in result.stdout.splitlines())
    number = "%d:%d" % (os.major(device), os.minor(device))
    expected = rotating[number] == "1" if number in rotating else None
    assert mounts.rotational(found) == expected
