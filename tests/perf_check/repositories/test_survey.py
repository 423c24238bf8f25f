"""The survey finds what real Git and Mercurial repositories hold, whatever state they are in, and
touches nothing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Callable, Mapping, Optional, Union

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.repositories import git, mercurial
from kallithea_tune.perf_check.repositories.discovery import Kind, discover
from kallithea_tune.perf_check.repositories.git import GitRepository
from kallithea_tune.perf_check.repositories.mercurial import HgRepository
from kallithea_tune.perf_check.repositories.survey import Survey, survey, survey_within
from kallithea_tune.system.files import Broken

HG = str(Path(sys.executable).parent / "hg")
ENVIRONMENT = dict(
    os.environ,
    HGPLAIN="1",
    HGRCPATH="",
    GIT_CONFIG_GLOBAL=os.devnull,
    GIT_CONFIG_SYSTEM=os.devnull,
    HGUSER="me",
    GIT_AUTHOR_NAME="me",
    GIT_AUTHOR_EMAIL="me@example.com",
    GIT_COMMITTER_NAME="me",
    GIT_COMMITTER_EMAIL="me@example.com",
)
FOREVER = float("inf")


def run(*args: object, input: Optional[str] = None) -> str:
    """Run a real command and return its output."""
    return subprocess.run(
        [str(arg) for arg in args],
        input=input,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        universal_newlines=True,
    ).stdout


def in_git(path: Path, *args: object, input: Optional[str] = None) -> str:
    """Run git on the repository `path`."""
    return run("git", "-C", path, *args, input=input)


def surveyed(ini: Path, seconds: float) -> Survey:
    return survey_within(load(str(ini)), seconds)


def git_repository(path: Path) -> GitRepository:
    return git.examine("it", str(path), FOREVER)


def hg_repository(path: Path) -> HgRepository:
    return mercurial.examine("it", str(path), FOREVER, mercurial.supported())


def listing(directory: Path) -> Mapping[str, tuple[Union[int, float], ...]]:
    """Return every path below `directory` with size, mode and times of modification and change."""
    return {
        os.path.join(parent, name): tuple(
            getattr(os.lstat(os.path.join(parent, name)), "st_" + part)
            for part in ("size", "mode", "mtime_ns", "ctime_ns", "ino")
        )
        for parent, directories, files in os.walk(str(directory))
        for name in [".", *directories, *files]
    }


def test_a_survey_sees_every_repository_and_changes_nothing(instance: Path) -> None:
    before = listing(instance.parent / "repos")
    found = surveyed(instance, 5)
    assert set(found.sizes) == {"git-one", "git-two", "hg-one", "hg-two"}
    assert (found.hg_total, found.git_total) == (2, 2)
    assert found.all_found and found.largest_first and found.examined.complete
    assert not (found.missing or found.unregistered or found.work_trees)
    assert listing(instance.parent / "repos") == before


def test_the_measurement_takes_what_time_is_left(instance: Path) -> None:
    found = Context(load(str(instance)), Deadline(60)).measure(survey)
    assert found.examined.total == 4 and found.root == str(instance.parent / "repos")


def test_objects_packs_and_refs_are_those_that_git_counts(instance: Path) -> None:
    path = instance.parent / "repos" / "git-one"
    for number in range(3):
        in_git(path, "hash-object", "-w", "--stdin", input="blob %d" % number)
    in_git(path, "update-ref", "refs/heads/loose", "HEAD")
    loose = int(in_git(path, "count-objects").split()[0])
    untidy = git_repository(path)
    assert untidy.loose.count == loose > 3
    assert untidy.packs.count == 0 and not untidy.packs.bitmap and not untidy.commit_graph
    assert untidy.refs.count == len(in_git(path, "for-each-ref").splitlines()) == 2
    assert untidy.refs.loose == 1
    in_git(path, "gc", "-q", "--prune=now")
    packed = git_repository(path)
    assert packed.loose.count == 0 and packed.packs.count == 1
    assert packed.packs.bitmap and packed.commit_graph
    assert packed.refs.count == 2 and packed.refs.loose == 0
    next((path / "objects" / "pack").glob("*.pack")).with_suffix(".keep").touch()
    assert git_repository(path).packs.count == 0


def test_a_chain_of_commit_graphs_counts_and_settings_are_read(instance: Path) -> None:
    path = instance.parent / "repos" / "git-one"
    in_git(path, "commit-graph", "write", "--reachable", "--split")
    in_git(path, "config", "gc.auto", "0")
    in_git(path, "config", "receive.autogc", "false")
    (path / "gc.log").write_text("warning: There are too many unreachable loose objects\n")
    repository = git_repository(path)
    assert repository.commit_graph
    assert {item.name: item.value for item in repository.settings} == {
        "gc.auto": "0",
        "receive.autogc": "false",
    }
    assert {item.file for item in repository.settings} == {str(path / "config")}
    assert repository.gc_log.startswith("warning: There are too many")


def empty_object(path: Path) -> None:
    victim = next(path.glob("objects/[0-9a-f][0-9a-f]/*"))
    victim.chmod(0o644)
    victim.write_bytes(b"")


def lost_pack(path: Path) -> None:
    in_git(path, "gc", "-q")
    next(path.glob("objects/pack/*.pack")).unlink()


def short_pack(path: Path) -> None:
    in_git(path, "gc", "-q")
    pack = next(path.glob("objects/pack/*.pack"))
    pack.chmod(0o644)
    os.truncate(str(pack), 20)


def empty_ref(path: Path) -> None:
    (path / "refs" / "heads" / "broken").write_bytes(b"")


def lost_alternate(path: Path) -> None:
    (path / "objects" / "info" / "alternates").write_text("/nowhere/objects\n")


def sha256(path: Path) -> None:
    shutil.rmtree(str(path))
    run("git", "init", "-q", "--bare", "--object-format=sha256", path)


def no_requirement(path: Path) -> None:
    with (path / ".hg" / "requires").open("a") as file:
        file.write("exp-from-the-future\n")


def short_changelog(path: Path) -> None:
    index = path / ".hg" / "store" / "00changelog.i"
    os.truncate(str(index), index.stat().st_size - 10)


def no_store(path: Path) -> None:
    shutil.rmtree(str(path / ".hg" / "store"))


def abandoned(path: Path) -> None:
    (path / ".hg" / "store" / "journal").write_bytes(b"00changelog.i\x000\n")


def gone(path: Path) -> None:
    shutil.rmtree(str(path))
    path.mkdir()


BROKEN: Mapping[Callable[[Path], None], tuple[str, str]] = {
    empty_object: ("git-one", "is an empty file"),
    lost_pack: ("git-one", "is missing"),
    short_pack: ("git-one", "is truncated"),
    empty_ref: ("git-one", "refs/heads/broken is an empty file"),
    lost_alternate: ("git-one", "borrows objects from /nowhere"),
    sha256: ("git-one", "sha256"),
    lambda path: (path / "HEAD").unlink(): ("git-one", "HEAD is missing"),
    lambda path: (path / "HEAD").write_bytes(b"\0" * 20): ("git-one", "HEAD is missing or damaged"),
    lambda path: (path / "HEAD").write_text("refs/heads/master\n"): ("git-one", "damaged"),
    no_requirement: ("hg-one", "exp-from-the-future"),
    short_changelog: ("hg-one", "00changelog.i ends within"),
    no_store: ("hg-one", "store is missing"),
    abandoned: ("hg-one", "abandoned"),
    gone: ("hg-one", "there is no hg repository"),
}


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_broken_repository_is_named_and_the_others_are_examined(
    instance: Path, spoil: Callable[[Path], None]
) -> None:
    name, reason = BROKEN[spoil]
    spoil(instance.parent / "repos" / name)
    found = surveyed(instance, 60)
    (broken,) = found.broken
    assert broken.name == name and reason in broken.reason
    assert set(found.sizes) == {"git-one", "git-two", "hg-one", "hg-two"} - {name}
    assert found.examined.complete


def test_git_and_mercurial_agree_that_those_are_broken(instance: Path) -> None:
    repos = instance.parent / "repos"
    empty_object(repos / "git-one")
    short_changelog(repos / "hg-one")
    abandoned(repos / "hg-two")
    for args in (
        ("git", "-C", repos / "git-one", "fsck"),
        (HG, "-R", repos / "hg-one", "verify"),
        (HG, "-R", repos / "hg-two", "tag", "-r", "0", "x"),
    ):
        with pytest.raises(subprocess.CalledProcessError):
            run(*args)


def test_a_head_without_its_branch_is_noticed(instance: Path) -> None:
    path = instance.parent / "repos" / "git-one"
    in_git(path, "branch", "-m", "master", "main")
    in_git(path, "symbolic-ref", "HEAD", "refs/heads/master")
    refs = git_repository(path).refs
    assert (refs.dangling_head, refs.branch) == ("refs/heads/master", "refs/heads/main")
    in_git(path, "symbolic-ref", "HEAD", "refs/heads/main")
    assert git_repository(path).refs.dangling_head == ""


def test_a_push_under_way_is_not_a_broken_repository(instance: Path) -> None:
    path = instance.parent / "repos" / "hg-one"
    abandoned(path)
    short_changelog(path)
    os.symlink("host:1", str(path / ".hg" / "store" / "lock"))
    assert mercurial.examine("it", str(path), FOREVER, None).revisions is None


def test_revisions_are_counted_inline_and_in_two_files(tmp_path: Path) -> None:
    run(HG, "init", tmp_path / "hg")
    # A revlog is split in two when its data exceed 128 KB (mercurial/revlog.py, _maxinline).
    run(HG, "-R", tmp_path / "hg", "debugbuilddag", "-q", "+4000")
    store = tmp_path / "hg" / ".hg" / "store"
    index = store / "00changelog.i"
    assert (store / "00changelog.d").exists() and mercurial.count(str(store), index.name) == 4000
    with pytest.raises(Broken, match="00changelog.d is shorter"):
        os.truncate(str(store / "00changelog.d"), 100)
        mercurial.count(str(store), index.name)
    run(HG, "init", tmp_path / "small")
    run(HG, "-R", tmp_path / "small", "debugbuilddag", "-q", "+7")
    assert mercurial.count(str(tmp_path / "small"), ".hg/store/00changelog.i") == 7
    assert hg_repository(tmp_path / "small").revisions == 7


def test_groups_links_loops_and_leftovers(tmp_path: Path, pristine: Path) -> None:
    root, real = tmp_path / "root", tmp_path / "elsewhere"
    for path in (
        root / "a" / "b" / "deep",
        root / "rm__20260102_030405_000006_old",
        real / "linked",
    ):
        shutil.copytree(str(pristine / "repos" / "hg-one"), str(path), symlinks=True)
    run("git", "init", "-q", root / "a" / "tree")
    (root / "a" / "link").symlink_to(real / "linked")
    (root / "a" / "to-group").symlink_to(real)
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to("self")
    (root / "a" / "nothing").symlink_to("nowhere")
    found = discover(str(root), FOREVER)
    assert found.kinds == {"a/b/deep": Kind.hg, "a/link": Kind.hg}
    assert found.work_trees == ["a/tree"]
    assert [Path(path).name for path in found.removed] == ["rm__20260102_030405_000006_old"]


def test_of_ten_thousand_entries_only_a_sample_is_examined_in_time(instance: Path) -> None:
    repos = instance.parent / "repos"
    for number in range(10_000):
        (repos / f"git-{number:05}" / "objects").mkdir(parents=True)
        (repos / f"git-{number:05}" / "refs").mkdir()
    found = surveyed(instance, 0.3)
    assert not found.all_found or found.examined.count < 10_004
    assert not found.missing


def test_database_and_disk_are_compared(instance: Path) -> None:
    repos = instance.parent / "repos"
    shutil.rmtree(str(repos / "git-two"))
    (repos / "hg-two").rename(repos / "hg-three")
    found = surveyed(instance, 5)
    assert (found.missing, found.unregistered) == (("git-two", "hg-two"), ("hg-three",))


def test_a_missing_directory_and_database_are_reported_in_a_sentence(instance: Path) -> None:
    shutil.move(str(instance.parent / "repos"), str(instance.parent / "away"))
    with pytest.raises(NotMeasured, match="repos does not exist"):
        surveyed(instance, 1)
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("DROP TABLE repositories")
    connection.close()
    with pytest.raises(NotMeasured, match="no such table"):
        surveyed(instance, 1)
