"""``gearbox static-export`` as an admin runs it, on a real Kallithea behind real web servers."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from servers.application import Kallithea
from servers.web import WebServer

from kallithea_tune.instance import load
from kallithea_tune.probes.beaker_config import package_directory
from kallithea_tune.statics.references import referenced
from kallithea_tune.statics.source import status_of

BIN = Path(sys.executable).parent
TOPS = ["css", "js", "images", "codemirror", "fontello"]


@pytest.fixture(scope="session")
def front_end(tmp_path_factory):
    """An overlay with the files that the templates ask for and that are not there while the front-end is not built."""
    overlay = tmp_path_factory.mktemp("front-end")
    package = Path(package_directory("egg:kallithea"))
    for path in referenced(str(package), TOPS):
        if (package / "public" / path).exists():
            continue
        (overlay / path).parent.mkdir(parents=True, exist_ok=True)
        (overlay / path).write_text("/* %s */\n" % path * 50)
    return overlay


@pytest.fixture
def export(gearbox, instance, front_end, tmp_path):
    """Run the command on the instance, into tmp_path/static."""

    def call(*words):
        return gearbox("static-export", "-c", instance, tmp_path / "static", "--overlay", front_end, *words,
                       cwd=str(tmp_path))

    return call


def test_first_run_second_run_and_check(export, tmp_path):
    dry = export("--dry-run")
    assert dry.returncode == 0 and not (tmp_path / "static").exists() and "nothing was written" in dry.stderr
    stale = export("--check")
    assert stale.returncode == 1 and "nothing is published" in stale.stderr
    first = export()
    assert first.returncode == 0, first.stderr
    published = tmp_path / "static"
    assert (published / "css" / "style.css.gz").exists() and (published / "images" / "kallithea-logo.svg.gz").exists()
    before = {path: os.stat(str(path)).st_ino for path in published.rglob("*")}
    again = export()
    assert again.returncode == 0 and "nothing to do" in again.stderr
    assert {path: os.stat(str(path)).st_ino for path in published.rglob("*")} == before
    assert export("--check").returncode == 0


def test_a_run_without_changes_does_not_load_the_application(gearbox, export, instance, tmp_path):
    assert export().returncode == 0
    (instance.parent / "kallithea.db").unlink()
    assert "nothing to do" in export().stderr
    other = gearbox("static-export", "-c", instance, tmp_path / "elsewhere", cwd=str(tmp_path))
    assert other.returncode == 2 and "does not load" in other.stderr and "Traceback" not in other.stderr


def test_an_overlay_that_changed_makes_the_export_stale(export, tmp_path):
    assert export().returncode == 0
    more = tmp_path / "theme"
    (more / "css").mkdir(parents=True)
    (more / "css" / "theme.css").write_text("a {}")
    stale = export("--overlay", more, "--check")
    assert stale.returncode == 1 and "1 new" in stale.stderr
    shown = export("--overlay", more)
    assert "1 from %s: css/theme.css" % more in " ".join(shown.stderr.split())
    assert (tmp_path / "static" / "css" / "theme.css").read_text() == "a {}"


def test_a_front_end_that_is_not_built_is_refused(gearbox, instance, tmp_path):
    style = Path(package_directory("egg:kallithea")) / "public" / "css" / "style.css"
    away = style.with_name("style.css.away-for-a-test")
    built = style.exists()
    if built:
        style.rename(away)
    try:
        said = gearbox("static-export", "-c", instance, tmp_path / "static", cwd=str(tmp_path))
    finally:
        if built:
            away.rename(style)
    assert said.returncode == 3 and "front-end-build" in said.stderr and not (tmp_path / "static").exists()


@pytest.mark.parametrize("words, status, sentence", [
    (["/"], 3, "no place to publish"),
    (["{home}"], 3, "no place to publish"),
    (["{here}/foreign"], 3, "not ours"),
    (["{here}/x", "--compress", "lzma"], 2, "no coding"),
    (["{here}/x", "--group", "no-such-group"], 2, "no such group"),
    (["{here}/x", "--server", "nginx", "--backend", "nowhere"], 2, "--backend"),
    (["{here}/x", "--verify", "http://127.0.0.1:1"], 2, "cannot be reached|does not answer"),
])
def test_what_is_wrong_is_said_in_one_sentence(gearbox, instance, front_end, tmp_path, words, status, sentence):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("theirs")
    filled = [word.format(home=os.path.expanduser("~"), here=tmp_path) for word in words]
    said = gearbox("static-export", "-c", instance, *filled, "--overlay", front_end, cwd=str(tmp_path))
    assert said.returncode == status, said.stderr
    last = said.stderr.strip().splitlines()[-1]
    assert re.search(sentence, last) and "Traceback" not in said.stderr
    assert (tmp_path / "foreign" / "file").read_text() == "theirs"


def test_switch_writes_the_setting_that_works_and_keeps_the_rest(export, instance, edit, tmp_path):
    logo = "images/kallithea-logo.svg"
    edit(instance, "static_files = true", "static_files = false")
    # The documented setting does nothing: the application still answers.
    assert status_of(load(str(instance)), logo, {}) == 200
    before = instance.read_text()
    dry = export("--switch", "--dry-run")
    assert dry.returncode == 0 and "+serve_static = false" in dry.stdout and instance.read_text() == before
    done = export("--switch")
    assert done.returncode == 0, done.stderr
    assert set(instance.read_text().splitlines()) ^ set(before.splitlines()) == {
        "serve_static = false", "[kallithea_tune]", "static_export = %s" % (tmp_path / "static")}
    assert status_of(load(str(instance)), logo, {}) == 404
    backups = [path for path in instance.parent.glob("my.ini.*") if path.read_text() == before]
    assert len(backups) == 1
    assert "already" in export("--switch").stderr


def test_prune_shows_and_leaves_out_what_nothing_refers_to(export, tmp_path):
    extra = tmp_path / "extra"
    (extra / "images").mkdir(parents=True)
    (extra / "images" / "never-named-anywhere.svg").write_text("<svg/>")
    (extra / "css").mkdir()
    (extra / "css" / "style.css.map").write_text("{}")
    said = export("--overlay", extra, "--prune")
    assert said.returncode == 0 and "left out" in said.stderr
    published = tmp_path / "static"
    assert not (published / "images" / "never-named-anywhere.svg").exists()
    assert not (published / "css" / "style.css.map").exists()
    assert (published / "css" / "style.css").exists() and (published / "images" / "kallithea-logo.svg").exists()


@pytest.fixture(scope="module")
def kallithea(pristine, tmp_path_factory):
    """A real Kallithea, for reading and for pushes into repositories of its own."""
    directory = tmp_path_factory.mktemp("served") / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    connection = sqlite3.connect(str(directory / "kallithea.db"))
    connection.execute("UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(directory / "repos")])
    connection.commit()
    connection.close()
    server = Kallithea(directory / "my.ini")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module", params=["apache", "caddy", "lighttpd", "nginx"])
def published(request, kallithea, front_end):
    """A web server in front of the real Kallithea, configured by the command."""
    server = WebServer(request.param)
    try:
        said = subprocess.run(
            [str(BIN / "gearbox"), "static-export", "-c", str(kallithea.ini), str(server.static), "--overlay",
             str(front_end), "--compress", codings(request.param), "--server", request.param, "-o", str(server.conf),
             "--server-name", "localhost", "--port", str(server.port)],
            cwd=str(server.directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        assert said.returncode == 0, said.stderr
        server.configured()
        server.start()
        yield server
    finally:
        server.remove()


def codings(name):
    # Brotli at its best level takes most of the time; one server is enough for it here.
    return "gzip,br" if name == "nginx" else "gzip"


def run(*words, cwd):
    environment = dict(
        os.environ, HGRCPATH="", GIT_CONFIG_GLOBAL=os.devnull, GIT_TERMINAL_PROMPT="0", GIT_AUTHOR_NAME="a",
        GIT_AUTHOR_EMAIL="a@example.com", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@example.com")
    result = subprocess.run(
        [str(word) for word in words], cwd=str(cwd), env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True, timeout=120)
    assert result.returncode == 0, result.stdout


def test_the_command_verifies_what_the_server_serves(published, gearbox, kallithea, front_end, tmp_path):
    words = ["static-export", "-c", kallithea.ini, published.static, "--overlay", front_end,
             "--compress", codings(published.name)]
    said = gearbox(*words, "--verify", published.url, cwd=str(tmp_path))
    assert said.returncode == 0 and "all as published" in said.stderr, said.stdout + said.stderr
    direct = gearbox(*words, "--verify", "http://127.0.0.1:%d" % kallithea.port, cwd=str(tmp_path))
    assert direct.returncode == 1 and "answered by the application" in direct.stdout


def test_hg_and_git_clone_pull_and_push_through_the_server(published, tmp_path):
    url = published.url.replace("http://", "http://admin:demo-password@")
    content = os.urandom(3_000_000)
    run("git", "clone", "-q", url + "/git-one", "git", cwd=tmp_path)
    (tmp_path / "git" / published.name).write_bytes(content)
    run("git", "add", ".", cwd=tmp_path / "git")
    run("git", "commit", "-q", "-m", published.name, cwd=tmp_path / "git")
    run("git", "push", "-q", "origin", "HEAD:master", cwd=tmp_path / "git")
    run("git", "clone", "-q", url + "/git-one", "git2", cwd=tmp_path)
    assert (tmp_path / "git2" / published.name).read_bytes() == content
    hg = BIN / "hg"
    run(hg, "clone", "-q", url + "/hg-one", "hg", cwd=tmp_path)
    run(hg, "clone", "-q", url + "/hg-one", "hg2", cwd=tmp_path)
    (tmp_path / "hg" / published.name).write_bytes(content)
    run(hg, "commit", "-A", "-q", "-m", published.name, "-u", "a", cwd=tmp_path / "hg")
    # hg does not keep the password.
    run(hg, "push", "-q", url + "/hg-one", cwd=tmp_path / "hg")
    run(hg, "pull", "-q", "-u", url + "/hg-one", cwd=tmp_path / "hg2")
    assert (tmp_path / "hg2" / published.name).read_bytes() == content
