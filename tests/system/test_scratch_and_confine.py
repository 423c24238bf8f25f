"""Measuring writes into one directory, which goes away, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system.scratch import PREFIX, scratch


def test_scratch_goes_away_whatever_happened_in_it(tmp_path):
    with pytest.raises(ZeroDivisionError), scratch(str(tmp_path)) as directory:
        assert os.path.dirname(directory) == str(tmp_path) and os.path.basename(
            directory
        ).startswith(PREFIX)
        assert os.stat(directory).st_mode & 0o777 == 0o700
        os.makedirs(directory + "/a/b")
        os.symlink("/etc", directory + "/link")
        open(directory + "/a/b/c", "w").close()
        raise ZeroDivisionError
    assert os.listdir(str(tmp_path)) == [] and os.path.exists("/etc/passwd")


@pytest.mark.parametrize(
    "where, message", [("none", "No such file or directory"), ("file", "Not a directory")]
)
def test_where_nothing_can_be_written_nothing_is_measured(tmp_path, where, message):
    (tmp_path / "file").touch()
    with pytest.raises(NotMeasured, match=message), scratch(str(tmp_path / where)):
        pass


def test_what_an_exit_in_the_middle_leaves_goes_with_the_process(tmp_path):
    code = (
        "import sys; from kallithea_tune.system.scratch import scratch; "
        "made = scratch(sys.argv[1]); print(made.__enter__()); scratch.held = made; sys.exit(3)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert result.returncode == 3 and os.fsencode(str(tmp_path)) in result.stdout
    assert os.listdir(str(tmp_path)) == []


CONFINED = """
import os, shutil, sys, tempfile
from kallithea_tune.system.confine import confine

inside, outside = sys.argv[1:]
victim = outside + "/victim"
handle = os.open(outside, os.O_RDONLY)
refused = confine(inside)
attempts = {
    "write": lambda: open(victim, "w"),
    "append": lambda: open(victim, "ab"),
    "update": lambda: open(victim, "r+"),
    "create": lambda: os.open(outside + "/new", os.O_CREAT | os.O_WRONLY),
    "remove": lambda: os.remove(victim),
    "rename away": lambda: os.rename(victim, inside + "/x"),
    "rename over": lambda: os.replace(inside + "/y", victim),
    "mkdir": lambda: os.mkdir(outside + "/d"),
    "rmdir": lambda: os.rmdir(outside + "/empty"),
    "chmod": lambda: os.chmod(victim, 0),
    "chown": lambda: os.chown(victim, 1, 1),
    "utime": lambda: os.utime(victim),
    "truncate": lambda: os.truncate(victim, 0),
    "symlink": lambda: os.symlink("x", outside + "/s"),
    "link": lambda: os.link(victim, inside + "/l"),
    "link out": lambda: os.link(inside + "/y", outside + "/l"),
    "xattr": lambda: os.setxattr(victim, "user.a", b"b"),
    "rmtree": lambda: shutil.rmtree(outside),
    "through ..": lambda: open(inside + "/../" + os.path.basename(outside) + "/victim", "w"),
    "through a link": lambda: open(inside + "/way/victim", "w"),
    "as bytes": lambda: open(os.fsencode(victim), "w"),
    "by handle": lambda: os.open("victim", os.O_WRONLY, dir_fd=handle),
    "remove by handle": lambda: os.remove("victim", dir_fd=handle),
}
open(inside + "/y", "w").close()
with open(inside + "/file", "w") as file:
    file.write("allowed")
os.rename(inside + "/file", inside + "/renamed")
os.mkdir(inside + "/d")
os.remove(inside + "/renamed")
print(open(victim).read(), file=open("/dev/null", "w"))
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError as error:
        assert "not written while measuring" in str(error), (name, error)
    else:
        print("possible:", name)
print("refused", len(refused))
"""


def test_a_confined_process_writes_nowhere_else(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    (outside / "empty").mkdir(parents=True)
    (outside / "victim").write_text("precious")
    (inside / "way").symlink_to(outside)
    before = os.stat(str(outside / "victim"))
    result = subprocess.run(
        [sys.executable, "-c", CONFINED, str(inside), str(outside)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert result.stderr == "" and result.stdout.startswith("refused ")
    assert int(result.stdout.split()[1]) >= 20
    assert (outside / "victim").read_text() == "precious" and sorted(os.listdir(str(outside))) == [
        "empty",
        "victim",
    ]
    after = os.stat(str(outside / "victim"))
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime_ns,
    )
