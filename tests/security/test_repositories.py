"""What lies in repositories, caches and beside the ini file starts nothing, although it would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import beaker_tools
import pytest
from environment import BIN
from owned import UNKNOWN
from planted_repositories import GIT, HG, Planter

from kallithea_tune.app import vcs_transfer
from kallithea_tune.app.visit import DoesNotLoad, Request, visit
from kallithea_tune.config.instance import load
from kallithea_tune.system.environment import isolated

EXECUTED_BY_PAGES = {"include", "command", "extension", "hg-include", "not-shared"}
PAGES = (
    "",
    "/changelog",
    "/files/tip/",
    "/feed/atom",
    "/changeset/tip",
    "/annotate/tip/README.rst",
)


@pytest.fixture
def planter(tmp_path):
    return Planter(tmp_path / "planted")


def _copy(pristine: Path, name: str, tmp_path: Path) -> Path:
    repository = tmp_path / name
    shutil.copytree(str(pristine / "repos" / name), str(repository))
    return repository


def _git(repository, words, name, env):
    subprocess.run(
        ["git", "-C", str(repository), *GIT[name].arguments.format(**words).split()],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("name", sorted(GIT))
def test_the_environment_keeps_git_from_starting_what_a_repository_says(
    pristine, planter, tmp_path, name
):
    repository = _copy(pristine, "git-one", tmp_path)
    words = planter.git(repository, name)
    planter.forget()
    if GIT[name].prevented == "environment":
        _git(repository, words, name, isolated())
        assert planter.used == []
    # It would be started otherwise.
    _git(repository, words, name, dict(os.environ))
    assert planter.used == ["include" if name == "include" else name]


@pytest.mark.parametrize("name", sorted(HG))
def test_the_environment_keeps_mercurial_from_starting_what_a_repository_says(
    pristine, planter, tmp_path, name
):
    repository = _copy(pristine, "hg-one", tmp_path)
    words = planter.hg(repository, name)
    arguments = HG[name][1].format(**words).split()
    command = [str(BIN / "hg"), "-R", str(repository)]
    for env, used in ((isolated(), set()), (dict(os.environ, HGRCPATH=""), {name})):
        subprocess.run(
            [*command, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert set(planter.used) - {"not-shared"} == used


@pytest.fixture
def hostile(owned):
    """An instance with every way planted into every repository, and its planter."""
    planter = Planter(owned.place / "planted")
    for name in ("git-one", "git-two"):
        planter.git(owned.directory / "repos" / name, *GIT)
    for name in ("hg-one", "hg-two"):
        planter.hg(owned.directory / "repos" / name, *HG)
    _set(owned.ini, "templating.mako.compiled_templates_dir = %(here)s/data/templates")
    return owned, planter


def _set(ini: Path, *lines: str) -> None:
    source = ini.read_text()
    assert source.count("[app:main]\n") == 1
    ini.write_text(source.replace("[app:main]\n", "\n".join(("[app:main]", *lines, ""))))


def _spoil(data: Path, planter: Planter) -> None:
    """Put code into every pickle of the caches and every compiled template, and forget its use."""
    for path in data.rglob("*.cache"):
        path.write_bytes(planter.pickled("cache"))
    for path in (data / "templates").rglob("*.py"):
        with open(str(path), "a") as file:
            file.write(f"\n{planter.code('template')}\n")
    planter.forget()


def test_pages_and_pulls_start_nothing_of_what_is_planted(hostile):
    owned, planter = hostile
    # What the application does by itself.
    beaker_tools.visit(owned.ini, *beaker_tools.PAGES, "/git-one/feed/atom")
    assert set(planter.used) >= EXECUTED_BY_PAGES
    _spoil(owned.directory / "data", planter)
    beaker_tools.visit(owned.ini, *beaker_tools.PAGES)
    assert set(planter.used) >= {"cache", "template"}
    _spoil(owned.directory / "data", planter)

    pages = [f"/{name}{page}" for name in ("git-one", "hg-one") for page in PAGES]
    pulls = [
        Request(f"/{kind}-one", walk=vcs_transfer.ask, arguments={"kind": kind})
        for kind in ("git", "hg")
    ]
    answers = visit(load(str(owned.ini)), [*map(Request, pages), *pulls], 120).answers
    assert planter.used == []
    assert {answer.path: answer.status for answer in answers[: len(pages)]} == dict.fromkeys(
        pages, 200
    )
    assert [answer.result_of(vcs_transfer.ask).status for answer in answers[len(pages) :]] == [
        200,
        200,
    ]


@pytest.mark.alone
def test_perf_check_starts_nothing_of_what_is_planted(hostile):
    """As root, who acts as the owner of the repositories: Mercurial trusts the hgrc of a user."""
    owned, planter = hostile
    owned.give_to(UNKNOWN, UNKNOWN)
    planter.forget()
    said = owned.gearbox("perf-check", "-c", owned.ini, "-a", "-f", "json", "--budget", 60)
    assert planter.used == []
    assert said.returncode in (0, 1, 5), said.stderr
    assert {
        item["subject"].split("-")[0]: item["evidence"]
        for item in json.loads(said.stdout)
        if item["check"] == "REPO004"
    } == {kind: {"changelog": 200, "files": 200} for kind in ("git", "hg")}


@pytest.mark.parametrize("option", ["file_dir", "data_dir"])
def test_no_cache_of_the_instance_is_unpickled(instance, planter, option):
    elsewhere = instance.parent / "elsewhere"
    _set(instance, f"beaker.cache.long_term_file.{option} = {elsewhere}")
    beaker_tools.visit(instance, "/hg-one")
    caches = list(elsewhere.rglob("*.cache"))
    assert caches
    for path in caches:
        path.write_bytes(planter.pickled("cache"))
    assert _status(instance, "/hg-one") == 200
    assert planter.used == []
    beaker_tools.visit(instance, "/hg-one")
    assert planter.used == ["cache"]


def _status(ini: Path, path: str) -> int:
    return visit(load(str(ini)), [Request(path)], 60).answers[0].status


def test_a_repository_with_large_files_is_shown(instance):
    with open(str(instance.parent / "repos" / "hg-two" / ".hg" / "requires"), "a") as file:
        file.write("largefiles\n")
    assert _status(instance, "/hg-two/files/tip/") == 200


def test_code_beside_the_ini_file_is_not_executed_where_others_wrote_it(instance, planter):
    extensions = instance.parent / "extensions.py"
    extensions.write_text(planter.code("extensions") + "\n")
    extensions.chmod(0o666)
    with pytest.raises(DoesNotLoad) as refused:
        _status(instance, "/")
    assert (
        refused.value.message == f"{extensions} can be written by every user, so it is not executed"
    )
    extensions.chmod(0o644)
    os.chown(str(extensions), UNKNOWN, UNKNOWN)
    with pytest.raises(DoesNotLoad) as refused:
        _status(instance, "/")
    assert refused.value.message == (
        f"{extensions} and {instance} have different owners, so it is not executed"
    )
    assert planter.used == []
    os.chown(str(extensions), os.getuid(), os.getgid())
    assert _status(instance, "/") == 200
    assert planter.used == ["extensions"]
