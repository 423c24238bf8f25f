"""What lies in repositories, caches and beside the ini file starts nothing, although it would."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import beaker_tools
import cache
import pytest
from environment import BIN
from planted_repositories import GIT, HG, Planter

from kallithea_tune.app.visit import DoesNotLoad, Request, visit
from kallithea_tune.config.instance import load
from kallithea_tune.system.environment import isolated

# Any user but root; it needs no name.
STRANGER = 54321
EXECUTED_BY_PAGES = {"include", "command", "extension", "hg-include", "not-shared"}
SHOWN = {kind: {"changelog": 200, "files": 200} for kind in ("git", "hg")}


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


@dataclass(frozen=True)
class Hostile:
    """An instance with every way planted into every repository."""

    ini: Path
    planter: Planter


@pytest.fixture
def hostile(visited):
    # Unlike pytest's own directories, one that every user may enter.
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        os.chmod(place, 0o755)
        ini = Path(place, "instance", "my.ini")
        cache.copy(visited.parent, ini.parent)
        repositories = ini.parent / "repos"
        with sqlite3.connect(str(ini.parent / "kallithea.db")) as connection:
            connection.execute(
                "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(repositories)]
            )
        connection.close()
        planter = Planter(Path(place, "planted"))
        for name in ("git-one", "git-two"):
            planter.git(repositories / name, *GIT)
        for name in ("hg-one", "hg-two"):
            planter.hg(repositories / name, *HG)
        _set(ini, "templating.mako.compiled_templates_dir = %(here)s/data/templates")
        yield Hostile(ini, planter)


def _set(ini: Path, *lines: str) -> None:
    source = ini.read_text()
    assert source.count("[app:main]\n") == 1
    ini.write_text(source.replace("[app:main]\n", "\n".join(("[app:main]", *lines, ""))))


def _spoil(hostile: Hostile) -> None:
    """Put code into every pickle of the caches and every compiled template."""
    data = hostile.ini.parent / "data"
    for path in data.rglob("*.cache"):
        path.write_bytes(hostile.planter.pickled("cache"))
    for path in (data / "templates").rglob("*.py"):
        with open(str(path), "a") as file:
            file.write(f"\n{hostile.planter.code('template')}\n")


def _perf_check(ini: Path, *words: str) -> "list[dict[str, object]]":
    done = subprocess.run(
        [
            str(BIN / "gearbox"),
            "perf-check",
            "-c",
            str(ini),
            "-a",
            "-f",
            "json",
            "--budget",
            "120",
            *words,
        ],
        cwd=str(ini.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )
    assert done.returncode in (0, 1, 5), done.stderr
    found: "list[dict[str, object]]" = json.loads(done.stdout)
    return found


def test_perf_check_starts_nothing_of_what_is_planted(hostile):
    # What the application does by itself.
    beaker_tools.visit(hostile.ini, *beaker_tools.PAGES, "/git-one/feed/atom")
    assert set(hostile.planter.used) >= EXECUTED_BY_PAGES
    _spoil(hostile)
    beaker_tools.visit(hostile.ini, *beaker_tools.PAGES)
    assert set(hostile.planter.used) >= {"cache", "template"}
    _spoil(hostile)
    hostile.planter.forget()

    findings = _perf_check(hostile.ini)
    assert hostile.planter.used == []
    assert _shown(findings) == SHOWN
    subjects = {check: set() for check in ("CAC002", "WEB005")}
    for item in findings:
        subjects.get(item["check"], set()).add(item["subject"])
    assert subjects == {"CAC002": {"README view", "feed request"}, "WEB005": {"git", "hg"}}

    # The same for the owner of the repositories, as whom Mercurial trusts their hgrc.
    everything = [str(hostile.ini.parent), str(hostile.ini.parent.parent / "planted")]
    subprocess.run(["chown", "-R", f"{STRANGER}:{STRANGER}", *everything], check=True)
    findings = _perf_check(hostile.ini, "--only", "CAC002", "--only", "REPO004")
    assert hostile.planter.used == []
    assert _shown(findings) == SHOWN


def _shown(findings: "list[dict[str, object]]") -> "dict[str, object]":
    return {
        str(item["subject"]).split("-")[0]: item["evidence"]
        for item in findings
        if item["check"] == "REPO004"
    }


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
    assert refused.value.message == f"{extensions} can be written by every user: it is not executed"
    extensions.chmod(0o644)
    os.chown(str(extensions), STRANGER, STRANGER)
    with pytest.raises(DoesNotLoad) as refused:
        _status(instance, "/")
    assert refused.value.message == (
        f"{extensions} belongs to another user than {instance}: it is not executed"
    )
    assert planter.used == []
    os.chown(str(extensions), os.getuid(), os.getgid())
    assert _status(instance, "/") == 200
    assert planter.used == ["extensions"]
