"""Publishing that ends in the middle: killed, interrupted, on a full disk, without permission, by
another run.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import signal
import sys
import traceback

import pytest
from mounted import tmpfs

from kallithea_tune.errors import ConfigError, Refused, TuneError
from kallithea_tune.static_export.release import publish

FILES = ("css/style.css", "js/base.js", "LICENSES.txt")
TOUCHING = ("open", "os.", "shutil.", "tempfile.", "fcntl.")


def versions(place):
    """Return what the served files say; a variant says what its original does."""
    contents = {(place / name).read_text()[:9] for name in FILES}
    return contents | {
        gzip.decompress((place / name).read_bytes()).decode()[:9]
        for name in (name + ".gz" for name in FILES)
    }


def write(public, number):
    for name in FILES:
        (public / name).write_text("/* %03d */\n" % number * 300)


def in_child(planned, place, at, do, work=publish.publish):
    """Do the `work` in a child process that calls `do` before it touches the file system for the
    `at`-th time.

    Returns the signal or the status with which it ended: 0 when it got to the end before that.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    try:
        todo = planned
        count = 0

        def hook(event, arguments):
            nonlocal count
            if event.startswith(TOUCHING) and not event.startswith("os.fork"):
                count += 1
                if count == at:
                    do()

        sys.addaudithook(hook)
        work(todo, str(place))
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException:
        traceback.print_exc()
        os._exit(99)
    os._exit(0)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.slow
def test_killed_before_each_touch_of_the_disk_one_release_stands_whole(
    export, planned, public, tmp_path, first
):
    place = tmp_path / "www" / "static"
    write(public, 0)
    if not first:
        export()
    seen, killed = set() if first else {"/* 000 */"}, 0
    for at in range(1, 1000):
        number = 0 if first else at
        write(public, number)
        ended = in_child(planned(str(number)), place, at, kill)
        assert ended in (0, signal.SIGKILL)
        now = versions(place) if place.exists() else set()
        assert now in (seen, {"/* %03d */" % number}), at
        killed += ended != 0
        if ended == 0:
            break
        if first and now:
            # Swapped in already: only the tidying up was cut short.
            planned()
        seen = now
    assert killed > 30
    write(public, 999)
    export("999")
    assert versions(place) == {"/* 999 */"}
    left = sorted(os.listdir(str(place) + ".releases"))
    assert left[0] == ".lock" and len(left) <= 3 and all(name.isdigit() for name in left[1:])


@pytest.mark.slow
def test_interrupted_before_each_touch_of_the_disk_nothing_half_is_left(
    export, planned, public, tmp_path
):
    write(public, 0)
    place, _ = export()
    interrupted = 0
    for at in range(1, 1000):
        write(public, at)
        before = versions(place)
        ended = in_child(planned(str(at)), place, at, interrupt)
        assert ended in (0, 130) and versions(place) in (before, {"/* %03d */" % at}), at
        interrupted += ended == 130
        if ended == 0:
            break
    assert interrupted > 30
    export("999")
    assert len(os.listdir(str(place) + ".releases")) == 3


@pytest.mark.parametrize("kilobytes", [4, 8, 16, 32, 48, 64])
def test_a_full_disk_leaves_what_was_published(export, public, tmp_path, kilobytes):
    (tmp_path / "www").mkdir()
    with tmpfs(tmp_path / "www" / "small", "size=1m") as small:
        write(public, 1)
        place, _ = export(place=small / "static")
        with open(str(small / "filler"), "wb") as filler:
            filler.write(
                b"x"
                * (
                    (1 << 20)
                    - sum(path.stat().st_blocks * 512 for path in small.rglob("*"))
                    - kilobytes * 1024
                )
            )
        (public / "css" / "style.css").write_bytes(b"/* 002 */" + os.urandom(200_000))
        with pytest.raises(TuneError, match="No space left on device.*is unchanged") as caught:
            export("2", place=small / "static")
        assert caught.value.exit_status == 4
        assert versions(place) == {"/* 001 */"}
        assert sorted(os.listdir(str(small / "static.releases"))) == [".lock", "0001"]
        (small / "filler").unlink()
        export("2", place=small / "static")
        assert (place / "css" / "style.css").read_bytes().startswith(b"/* 002 */")


def test_a_file_system_that_is_read_only_is_told(export, planned, public, tmp_path):
    (tmp_path / "www").mkdir()
    with tmpfs(tmp_path / "www" / "small", "size=1m") as small:
        export(place=small / "static")
        todo = planned("2", place=small / "static")
        os.system(f"mount -o remount,ro {small}")
        with pytest.raises(ConfigError, match="Read-only file system"):
            publish.publish(todo, str(small / "static"))


def test_a_second_run_at_the_same_time_is_refused(export, planned):
    place, _ = export()
    with open(str(place) + ".releases/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another static-export is publishing"):
            export("2")
    export("2")


def test_a_run_that_was_overtaken_is_refused(export, planned, public):
    place, _ = export()
    late = planned("2")
    (public / "js" / "base.js").write_text("newer")
    export("3")
    with pytest.raises(Refused, match="by another run meanwhile"):
        publish.publish(late, str(place))
    with pytest.raises(Refused, match="by another run meanwhile"):
        publish.record(late, str(place))
    assert (place / "js" / "base.js").read_text() == "newer" and planned("3").is_empty
