"""Counts of files that Beaker and the real application left, and pickles that are read but never
loaded.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Optional, Sequence

import beaker_tools
import pytest
from beaker.cache import Cache

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.caching import beaker_files
from kallithea_tune.perf_check.caching.beaker_files import Growth
from kallithea_tune.system import child
from kallithea_tune.system.files import NotAFile

DAY = 86400


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(str(path), (then, then))


def count(directories: list[Path], days: int = 30, budget: float = 10) -> Growth:
    (counted,) = beaker_files.growth([list(map(str, directories))], [days], budget)
    return counted


def found_by_find(places: Sequence[str], days: int) -> list[str]:
    """What find would delete."""
    said = subprocess.run(
        ["find", *places, "-type", "f", "-mtime", f"+{days}"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout
    return said.splitlines()


def test_each_page_asked_for_without_a_cookie_leaves_two_files(visited: Path) -> None:
    sessions = visited.parent / "data" / "sessions"
    # A feed looks at no session, so it makes none.
    pages = [page for page in beaker_tools.PAGES if not page.endswith("atom")]
    assert count([sessions]).files == 2 * len(pages) == len(found_by_find([str(sessions)], -1))


def test_what_is_old_is_what_find_finds_and_its_size_is_what_deleting_frees(
    visited: Path, tmp_path: Path
) -> None:
    sessions = tmp_path / "some sessions"
    shutil.copytree(str(visited.parent / "data" / "sessions"), str(sessions))
    files = sorted(path for path in sessions.rglob("*") if path.is_file())
    for days, path in zip((29.9, 30.1, 30.9, 31.1, 400), files):
        age(path, days)
    (sessions / "container_file" / "link.cache").symlink_to(files[4])
    counted = count([sessions])
    found = found_by_find(counted.places, 30)
    assert sorted(found) == list(map(str, files[3:5])) and counted.old_files == 2
    assert counted.old_bytes == sum(os.stat(path).st_blocks * 512 for path in found)
    assert counted.files == len(files) and 399 < counted.oldest_days < 401
    assert counted.week_files == len(files) - 5


def test_only_directories_that_are_beakers_alone_are_counted_and_named_for_deletion(
    tmp_path: Path,
) -> None:
    data, locks = tmp_path / "data", tmp_path / "locks"
    beaker_tools.fill(data, "space", 2, 10)
    Cache("other", type="file", data_dir=str(data), lock_dir=str(locks)).get(
        "key", createfunc=lambda: 1
    )
    Cache("base", type="dbm", data_dir=str(data)).get("key", createfunc=lambda: 1)
    (data / "index").mkdir()
    (data / "index" / "segment").write_text("not Beaker's")
    counted = count([data, locks, tmp_path / "missing"])
    own = tuple(sorted(map(str, data.glob("container_*"))))
    assert len(own) > 1 and counted.places == (*own, str(locks))
    assert counted.files == len(found_by_find(counted.places, -1)) > 5
    # A lock directory that is shared with something else is left out as a whole.
    (locks / "make_index.lock").touch()
    assert count([data, locks]).places == own
    assert count([tmp_path / "missing"]).places == ()


def test_a_count_that_is_cut_short_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "container_file"
    folder.mkdir()
    for number in range(1000):
        (folder / str(number)).touch()
    counted = count([tmp_path], budget=0)
    assert not counted.complete and counted.files < 1000
    assert count([tmp_path]).complete and count([tmp_path]).files == 1000


def test_the_first_directories_do_not_take_the_time_of_the_next(tmp_path: Path) -> None:
    groups = []
    for name in ("a", "b"):
        folder = tmp_path / name / "container_file"
        folder.mkdir(parents=True)
        for number in range(500):
            (folder / str(number)).touch()
        groups.append([str(tmp_path / name)])
    first, second = beaker_files.growth(groups, [30, 30], 20)
    assert first.files == second.files == 500


def test_a_namespace_is_counted_as_beaker_counts_it(tmp_path: Path) -> None:
    path = beaker_tools.fill(
        tmp_path, "space", 301, 500, key="_get_readme_from_cache r%d README " + "ab" * 20
    )
    found = beaker_files.read_namespace(str(path), str(tmp_path), 10)
    size = path.stat().st_size
    assert found == beaker_files.Namespace(
        str(path), str(tmp_path), size, 301, 150, 301, "_get_readme_from_cache", True
    )


@pytest.mark.parametrize("protocol", range(1, 6))
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    stored = {
        b"_f one": (time.time(), 60, ("v", "w")),
        b"_f two": (time.time() - 99, 60, ("v", "w")),
        b"_f three": (time.time() - 99, None, ["v" * 5000]),
    }
    (tmp_path / "file").write_bytes(pickle.dumps(stored, protocol))
    found = beaker_files.read_namespace(str(tmp_path / "file"), str(tmp_path), 10)
    assert (found.entries, found.expired, found.function) == (3, 1, "_f")


def test_what_real_requests_left_is_understood(visited: Path) -> None:
    region = beaker_config.regions(load(str(visited)).settings)["long_term_file"]
    uses = [beaker_tools.use_of("readme"), beaker_tools.use_of("feed")]
    found = beaker_files.read_namespaces(
        {use.file(region["data_dir"]): region["data_dir"] for use in uses}, 10
    )
    seen = {
        kept.function: (kept.entries, kept.revision_keys, kept.expired) for kept in found.namespaces
    }
    # Two READMEs, whose keys name the revision; one feed, whose key does not.
    assert seen == {"_get_readme_from_cache": (2, 2, 0), "_get_feed_from_cache": (1, 0, 0)}


class Creates:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x04",
        b"not a pickle\n" * 100,
        random.Random(7).getrandbits(40000).to_bytes(5000, "big"),
        # A byte string said to be of 2 ** 60 bytes, and a number of 2 ** 31 - 1.
        b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"x",
        b"\x80\x04\x8b" + (2**31 - 1).to_bytes(4, "little"),
        None,
    ],
)
def test_a_file_that_is_no_cache_is_of_unknown_content_and_runs_nothing(
    tmp_path: Path, content: Optional[bytes]
) -> None:
    proof = tmp_path / "proof"
    (tmp_path / "file").write_bytes(
        pickle.dumps({b"key": Creates(proof)}) if content is None else content
    )
    found = beaker_files.read_namespace(str(tmp_path / "file"), str(tmp_path), 10)
    assert found.entries == 0 and not proof.exists()


def test_reading_stops_in_time_and_says_that_it_guesses(tmp_path: Path) -> None:
    path = beaker_tools.fill(tmp_path, "space", 3000, 100)
    found = beaker_files.read_namespace(str(path), str(tmp_path), 0)
    assert not found.complete and 1500 < found.entries < 6000


def test_large_namespaces_are_found_where_none_is_expected_unless_nothing_writes_to_them(
    tmp_path: Path,
) -> None:
    files = {
        name: beaker_tools.fill(tmp_path, name, 100, size)
        for name, size in (("known", 10), ("large", 8000), ("small", 10), ("left", 8000))
    }
    age(files["left"], 40)
    found = beaker_files.read_namespaces({str(files["known"]): str(tmp_path)}, 10)
    assert [kept.path for kept in found.namespaces] == [str(files["large"]), str(files["known"])]
    nowhere = {str(tmp_path / "none"): str(tmp_path / "nowhere")}
    assert beaker_files.read_namespaces(nowhere, 10) == beaker_files.Namespaces(())


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    path = beaker_tools.fill(tmp_path, "space", 1, 1)
    target = path.with_suffix(".away")
    path.rename(target)
    path.mkdir()
    with pytest.raises(NotAFile, match="is a directory, not a file"):
        beaker_files.read_namespace(str(path), str(tmp_path), 1)


def test_the_answers_pass_through_a_child(tmp_path: Path) -> None:
    path = beaker_tools.fill(tmp_path, "space", 5, 10)
    found = child.call(
        beaker_files.read_namespaces,
        30,
        known={str(path): str(tmp_path)},
        budget=5,
    )
    (namespace,) = found.namespaces
    assert namespace.entries == 5 and namespace.data_dir == str(tmp_path)
