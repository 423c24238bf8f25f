"""What is no file is not opened: a link leads anywhere, a FIFO blocks, a device may act."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Callable, Iterator, Mapping

import beaker_tools
import pytest
from mounted import AS_ROOT

from kallithea_tune.app.repositories import first_usable
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.perf_check.caching.beaker_files import read_namespaces
from kallithea_tune.perf_check.repositories.survey import survey_here
from kallithea_tune.system import child, files

FOREVER = float("inf")


def make_socket(path: Path) -> None:
    """Make a socket; the path of one may have a hundred characters only."""
    parent = os.open(str(path.parent), os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)


def make_device(path: Path) -> None:
    """A terminal's multiplexer: opening it makes a new terminal."""
    subprocess.run([*AS_ROOT, "mknod", str(path), "c", "5", "2"], check=True)


KINDS: Mapping[str, Callable[[Path], object]] = {
    "FIFO": lambda path: os.mkfifo(str(path)),
    "socket": make_socket,
    "device": make_device,
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "directory": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_are_opened(kind: str, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    KINDS[kind](tmp_path / "inside" / "it")
    for read in (files.text, files.opened):
        with pytest.raises(files.NotAFile) as raised:
            read(str(tmp_path), "inside/it")
        assert (raised.value.path, raised.value.kind) == (str(tmp_path / "inside" / "it"), kind)
    (found,) = files.entries(str(tmp_path), "inside")
    assert found.kind == kind and found.blocks == (kind in ("FIFO", "socket", "device"))


def test_no_link_on_the_way_is_followed_but_those_of_the_admin(tmp_path: Path) -> None:
    (tmp_path / "real" / "inside").mkdir(parents=True)
    (tmp_path / "real" / "inside" / "it").write_text("seen")
    (tmp_path / "repos").symlink_to("real")
    (tmp_path / "real" / "away").symlink_to("inside")
    assert files.text(str(tmp_path / "repos"), "inside/it") == "seen"
    assert [item.name for item in files.entries(str(tmp_path / "repos"), "inside")] == ["it"]
    for look in (
        lambda: files.text(str(tmp_path / "repos"), "away/it"),
        lambda: files.size_of(str(tmp_path / "repos"), "away/it"),
        lambda: list(files.entries(str(tmp_path / "repos"), "away")),
        lambda: list(files.below(str(tmp_path / "repos"), FOREVER, "away")),
    ):
        with pytest.raises(files.NotAFile, match="away is a link, which is not followed"):
            look()
    assert [item.name for item in files.below(str(tmp_path / "real"), FOREVER)] == ["away", "it"]


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "none/at/all", "file/in/it"):
        assert files.text(str(tmp_path), name) == "" and files.size_of(str(tmp_path), name) == 0
        assert files.entry(str(tmp_path), name) is None
        assert list(files.entries(str(tmp_path), name)) == []


def test_reading_is_limited(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    assert files.text(str(tmp_path), "file", 100) == "x" * 100


def plant(path: Path, kind: str) -> None:
    if path.is_dir():
        shutil.rmtree(str(path))
    elif path.exists():
        path.unlink()
    KINDS[kind](path)


# Of a Git and a Mercurial repository each.
PLACES = {
    "HEAD": "git-one",
    "config": "git-one",
    "packed-refs": "git-one",
    "refs/heads/new": "git-one",
    "objects/info/alternates": "git-one",
    "hooks/post-receive": "git-one",
    ".hg/requires": "hg-one",
    ".hg/hgrc": "hg-one",
    ".hg/store/00changelog.i": "hg-one",
    ".hg/store/00manifest.i": "hg-one",
    ".hg/cache/branch2-served": "hg-one",
}


@pytest.fixture(scope="module")
def spoilt(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of an instance whose repositories are spoilt in turn."""
    directory = tmp_path_factory.mktemp("spoilt") / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    with sqlite3.connect(str(directory / "kallithea.db")) as connection:
        connection.execute(
            "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(directory / "repos")]
        )
    connection.close()
    yield directory


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "link"])
def test_a_repository_is_named_and_all_others_are_examined(spoilt: Path, kind: str) -> None:
    others = {"git-one", "git-two", "hg-one", "hg-two"}
    for name, repository in PLACES.items():
        path = spoilt / "repos" / repository
        aside = spoilt / "aside"
        shutil.copytree(str(path), str(aside), symlinks=True)
        try:
            plant(path / name, kind)
            found = survey_here(f"sqlite:///{spoilt}/kallithea.db", 20)
        finally:
            shutil.rmtree(str(path))
            aside.rename(path)
        if kind == "link" and name == "hooks/post-receive":
            # Kallithea takes it for somebody else's, and so does git.
            assert set(found.sizes) == others
            continue
        assert set(found.sizes) == others - {repository}, name
        (failed,) = found.linked if kind == "link" else found.broken
        assert failed.name == repository and f"{name} is a {kind}, " in failed.reason
        assert failed.blocks == (kind != "link")


def test_a_directory_of_a_repository_that_is_a_link_is_not_entered(spoilt: Path) -> None:
    secret = spoilt / "secret"
    for name in ("git-two/objects", "git-two/refs", "hg-two/.hg", "hg-two/.hg/store"):
        path = spoilt / "repos" / name
        path.rename(secret)
        path.symlink_to(secret)
        try:
            found = survey_here(f"sqlite:///{spoilt}/kallithea.db", 20)
        finally:
            path.unlink()
            secret.rename(path)
        (failed,) = found.linked
        assert failed.name == name.split("/")[0] and "is a link, which is" in failed.reason


def test_hooks_that_are_a_link_are_elsewhere(spoilt: Path) -> None:
    hooks = spoilt / "repos" / "git-two" / "hooks"
    aside = spoilt / "aside"
    hooks.rename(aside)
    hooks.symlink_to(aside)
    try:
        found = survey_here(f"sqlite:///{spoilt}/kallithea.db", 20)
    finally:
        hooks.unlink()
        aside.rename(hooks)
    (repository,) = (item for item in found.git if item.name == "git-two")
    assert repository.hooks.hooks_path == str(aside) and repository.hooks.post_receive is None


def test_no_page_of_a_repository_that_blocks_is_requested(spoilt: Path) -> None:
    repos = spoilt / "repos"
    candidates = {"git": ["git-one", "git-two"], "hg": ["hg-one", "hg-two"]}
    assert first_usable(str(repos), candidates) == {"git": "git-one", "hg": "hg-one"}
    alone = {kind: names[:1] for kind, names in candidates.items()}
    for git, hg in (("refs/heads/f", "store/f"), ("objects/pack/f", "cache/f"), ("f", "f")):
        places = [repos / "git-one" / git, repos / "hg-one" / ".hg" / hg]
        for kind in ("FIFO", "link"):
            for path in places:
                path.parent.mkdir(exist_ok=True)
                KINDS[kind](path)
            try:
                usable = first_usable(str(repos), candidates), first_usable(str(repos), alone)
            finally:
                for path in places:
                    path.unlink()
            assert usable == ({"git": "git-two", "hg": "hg-two"}, {})


@pytest.mark.alone  # What is found depends on the time there is.
def test_the_command_names_what_blocks_once_and_measures_the_rest(
    gearbox: Callable[..., "subprocess.CompletedProcess[str]"], instance: Path
) -> None:
    repos = instance.parent / "repos"
    plant(repos / "git-one" / "HEAD", "FIFO")
    plant(repos / "hg-one" / ".hg" / "requires", "FIFO")
    said = gearbox(
        *("perf-check", "-c", instance, "-f", "json", "--budget", "60"),
        *("--only=repositories", "--only=serving", "--skip=WEB002"),
    )
    found = json.loads(said.stdout)
    errors = {(item["check"], item["subject"]) for item in found if item["severity"] == "error"}
    assert {("REPO003", "git-one"), ("REPO003", "hg-one")} <= errors
    unknown = [
        (item["check"], item["diagnosis"]) for item in found if item["severity"] == "unknown"
    ]
    blocked = "not measured: 2 of 4 repositories were not examined"
    assert sorted(unknown) == [("REPO007", blocked), ("REPO008", blocked)]
    pages = [item for item in found if item["check"] == "WEB008"]
    assert pages and pages[0]["severity"] == "ok"


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "link"])
def test_a_cache_file_that_is_none_is_named(kind: str, tmp_path: Path) -> None:
    good = beaker_tools.fill(tmp_path, "good", 5, 10)
    bad = beaker_tools.fill(tmp_path, "bad", 5, 10)
    plant(bad, kind)
    known = {str(path): str(tmp_path) for path in (good, bad)}
    found = child.call(read_namespaces, 30, known=known, budget=5)
    assert [item.path for item in found.namespaces] == [str(good)]
    assert found.others == {str(bad): kind}


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_a_database_that_is_none_is_one_sentence(kind: str, tmp_path: Path) -> None:
    from sqlalchemy.exc import OperationalError

    KINDS[kind](tmp_path / "kallithea.db")
    engine = read_only_engine(f"sqlite:///{tmp_path}/kallithea.db")
    with pytest.raises(OperationalError, match=f"kallithea.db is a {kind}, not a file"):
        engine.connect()


def test_a_link_to_the_database_is_the_admins_own(instance: Path) -> None:
    path = instance.parent / "kallithea.db"
    path.rename(instance.parent / "real.db")
    path.symlink_to("real.db")
    with read_only_engine(f"sqlite:///{path}").connect() as connection:
        assert connection.execute("SELECT count(*) FROM users").scalar()
