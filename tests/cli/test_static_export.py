"""``gearbox static-export`` as an admin runs it, on a real Kallithea behind real web servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from servers.application import Kallithea
from servers.server import running
from servers.web import WebServer

from kallithea_tune.app.package import package_directory
from kallithea_tune.config import inifile
from kallithea_tune.config.instance import load
from kallithea_tune.errors import Refused
from kallithea_tune.static_export import switch
from kallithea_tune.static_export.sources.application import claims_believed, status_of

LOGO = "images/kallithea-logo.svg"


@pytest.fixture
def kallithea(instance):
    """The instance, running."""
    yield from running(Kallithea(instance))


def test_first_run_second_run_and_check(export, tmp_path):
    dry = export("--dry-run")
    assert (
        dry.returncode == 0
        and not (tmp_path / "static").exists()
        and "nothing was written" in dry.stderr
    )
    stale = export("--check")
    assert stale.returncode == 1 and "nothing is published" in stale.stderr
    first = export()
    assert first.returncode == 0, first.stderr
    published = tmp_path / "static"
    assert (published / "css" / "style.css.gz").exists() and (
        published / "images" / "kallithea-logo.svg.gz"
    ).exists()
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
    assert (
        other.returncode == 2
        and "does not load" in other.stderr
        and "Traceback" not in other.stderr
    )


def test_an_overlay_that_changed_makes_the_export_stale(export, tmp_path):
    assert export().returncode == 0
    more = tmp_path / "theme"
    (more / "css").mkdir(parents=True)
    (more / "css" / "theme.css").write_text("a {}")
    stale = export("--overlay", more, "--check")
    assert stale.returncode == 1 and "1 new" in stale.stderr
    shown = export("--overlay", more)
    assert f"1 from {more}: css/theme.css" in " ".join(shown.stderr.split())
    assert (tmp_path / "static" / "css" / "theme.css").read_text() == "a {}"


@pytest.fixture
def upgraded(front_end, tmp_path):
    """Install another version of Kallithea in front of the real one; return its public directory
    and an environment.
    """
    site = tmp_path / "site"
    package = Path(package_directory())
    shutil.copytree(
        str(package),
        str(site / "kallithea"),
        ignore=shutil.ignore_patterns("node_modules", "tests"),
    )
    for path in front_end.rglob("*.*"):
        (site / "kallithea" / "public" / path.relative_to(front_end)).parent.mkdir(
            parents=True, exist_ok=True
        )
        shutil.copy(str(path), str(site / "kallithea" / "public" / path.relative_to(front_end)))
    (info,) = package.parent.glob("[Kk]allithea-0*.dist-info")
    shutil.copytree(str(info), str(site / "Kallithea-0.7.1.dist-info"))
    metadata = site / "Kallithea-0.7.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("\nVersion: 0.7.0\n", "\nVersion: 0.7.1\n"))
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    return site / "kallithea" / "public", {**os.environ, "PYTHONPATH": path}


def test_a_front_end_that_is_not_built_is_refused(gearbox, instance, upgraded, tmp_path):
    public, environment = upgraded
    (public / "css" / "style.css").unlink()
    result = gearbox(
        "static-export", "-c", instance, tmp_path / "static", cwd=str(tmp_path), env=environment
    )
    assert (
        result.returncode == 3
        and "front-end-build" in result.stderr
        and not (tmp_path / "static").exists()
    )


def test_an_upgrade_makes_the_export_stale_and_it_is_renewed(
    gearbox, instance, upgraded, front_end, tmp_path
):
    words = ["static-export", "-c", instance, tmp_path / "static"]
    first = gearbox(*words, "--overlay", front_end, "--compress", "gzip,zstd")
    assert first.returncode == 0, first.stderr
    public, environment = upgraded
    (public / "fontello" / "demo.html").unlink()
    (public / "js" / "base.js").write_text("// 0.7.1\n" * 50)
    (public / "next").mkdir()
    (public / "next" / "entry.js").write_text("// new\n" * 50)
    stale = gearbox(*words, "--check", env=environment)
    assert stale.returncode == 1 and "0.7.1 is installed" in " ".join(stale.stderr.split())
    options = f"--overlay {front_end} --compress gzip,zstd -c {instance}"
    assert stale.stderr.splitlines()[-1].endswith(options)
    renewed = gearbox(*words, env=environment)
    assert renewed.returncode == 0, renewed.stderr
    assert (
        "1 new: next/entry.js" in renewed.stderr
        and "1 kept from before: fontello/demo.html" in renewed.stderr
    )
    assert {"js/base.js.zst", "fontello/demo.html"} <= {
        str(path.relative_to(tmp_path / "static")) for path in (tmp_path / "static").rglob("*.*")
    }
    assert gearbox(*words, "--check", env=environment).returncode == 0
    (public / "css" / "style.css").unlink()
    broken = gearbox(*words, "--overlay", "", env=environment)
    assert broken.returncode == 3 and (tmp_path / "static" / "css" / "style.css").exists()


def test_nothing_is_switched_where_verify_finds_problems(export, instance, tmp_path, kallithea):
    before = instance.read_text()
    result = export("--switch", "--verify", "http://127.0.0.1:%d" % kallithea.port)
    assert (
        result.returncode == 1
        and "was not changed" in " ".join(result.stderr.split())
        and instance.read_text() == before
    )


def test_a_switch_that_does_not_work_as_written_is_taken_back(instance):
    before = instance.read_text()
    edit = inifile.plan(str(instance), "app:main", {"static_files": "false"})
    with pytest.raises(Refused, match="undone"):
        switch.apply(load(str(instance)), [edit], LOGO)
    assert instance.read_text() == before and [
        path.name for path in instance.parent.glob("my.ini*")
    ] == ["my.ini"]


def test_what_paste_sets_in_its_own_way_is_left_to_the_admin(export, instance, edit):
    edit(instance, "static_files = true", "static_files = true\nset serve_static = true")
    before = instance.read_text()
    result = export("--switch")
    assert result.returncode == 2 and "by hand" in result.stderr and instance.read_text() == before


# The file that has the setting, and the line below which it stands.
ELSEWHERE = {
    "in DEFAULT": ("my.ini", "[DEFAULT]\n"),
    "in the other file": ("base.ini", "[app:main]\n"),
    "in DEFAULT of the other file": ("base.ini", "[DEFAULT]\n"),
    "in the section that overrides another file": ("my.ini", "[app:main]\n"),
    "nowhere": ("", ""),
}


@pytest.mark.parametrize("where, section", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_switch_changes_the_setting_where_it_stands(
    where, section, export, instance, edit, tmp_path
):
    base = instance.with_name("base.ini")
    shutil.copy(str(instance), str(base))
    instance.write_text(
        "[DEFAULT]\n\n[server:main]\nuse = config:base.ini\n\n[app:main]\nuse = config:base.ini\n"
    )
    if where:
        edit(instance.with_name(where), section, section + "serve_static = true\n")
    before = {path: path.read_text() for path in (instance, base)}
    assert status_of(load(str(instance)), LOGO, {}) == 200
    dry = export("--switch", "--dry-run")
    assert dry.returncode == 0 and "+serve_static = false" in dry.stdout
    assert {path: path.read_text() for path in before} == before
    done = export("--switch")
    assert done.returncode == 0, done.stderr
    assert status_of(load(str(instance)), LOGO, {}) == 404
    changed = instance.with_name(where or "my.ini")
    assert changed.read_text().count("serve_static = false") == 1
    other = base if changed == instance else instance
    assert "serve_static" not in other.read_text()
    assert "static_export = {}".format(tmp_path / "static") in instance.read_text()
    back = done.stderr.split("to go back: ")[1].splitlines()[0]
    subprocess.run(back, shell=True, check=True)
    assert {path: path.read_text() for path in before} == before


@pytest.fixture
def prefixed(instance, edit):
    """The instance behind PasteDeploy's prefix filter, as Kallithea's template has it."""
    edit(
        instance,
        "#[filter:proxy-prefix]\n#use = egg:PasteDeploy#prefix\n#prefix = /<your-prefix>",
        "[filter:proxy-prefix]\nuse = egg:PasteDeploy#prefix\nprefix = /code",
    )
    edit(instance, "#filter-with = proxy-prefix", "filter-with = proxy-prefix")
    return instance


def test_switch_has_the_prefix_filter_believe_no_client(export, prefixed, edit):
    edit(prefixed, "static_files = true", "serve_static = false")
    before = prefixed.read_text()
    assert len(claims_believed(load(str(prefixed)))) == 3
    done = export("--switch")
    assert done.returncode == 0, done.stderr
    assert set(prefixed.read_text().splitlines()) - set(before.splitlines()) >= {
        "translate_forwarded_server = false",
        "trusted_proxy = 127.0.0.1",
        "trusted_proxy_headers = x-forwarded-for x-forwarded-proto",
        "clear_untrusted_proxy_headers = true",
    }
    assert claims_believed(load(str(prefixed))) == ()
    assert "already" in export("--switch").stderr


def test_a_switch_after_which_a_client_is_believed_is_taken_back(prefixed):
    before = prefixed.read_text()
    edit = inifile.plan(str(prefixed), "app:main", {"serve_static": "false"})
    with pytest.raises(Refused, match="believed a client's X-Forwarded-Host .* undone"):
        switch.apply(load(str(prefixed)), [edit], LOGO)
    assert prefixed.read_text() == before


def test_switch_writes_the_setting_that_works_and_keeps_the_rest(export, instance, edit, tmp_path):
    edit(instance, "static_files = true", "static_files = false")
    # The documented setting does nothing: the application still answers.
    assert status_of(load(str(instance)), LOGO, {}) == 200
    before = instance.read_text()
    dry = export("--switch", "--dry-run")
    assert (
        dry.returncode == 0
        and "+serve_static = false" in dry.stdout
        and instance.read_text() == before
    )
    done = export("--switch")
    assert done.returncode == 0, done.stderr
    assert set(instance.read_text().splitlines()) ^ set(before.splitlines()) == {
        "serve_static = false",
        "[kallithea_tune]",
        "static_export = {}".format(tmp_path / "static"),
    }
    assert status_of(load(str(instance)), LOGO, {}) == 404
    backups = [path for path in instance.parent.glob("my.ini.*") if path.read_text() == before]
    assert len(backups) == 1
    assert "already" in export("--switch").stderr


def test_prune_shows_and_leaves_out_what_nothing_refers_to(export, tmp_path):
    extra = tmp_path / "extra"
    (extra / "images").mkdir(parents=True)
    (extra / "images" / "never-named-anywhere.svg").write_text("<svg/>")
    (extra / "css").mkdir()
    (extra / "css" / "style.css.map").write_text("{}")
    result = export("--overlay", extra, "--prune")
    assert result.returncode == 0 and "left out" in result.stderr
    published = tmp_path / "static"
    assert not (published / "images" / "never-named-anywhere.svg").exists()
    assert not (published / "css" / "style.css.map").exists()
    assert (published / "css" / "style.css").exists() and (
        published / "images" / "kallithea-logo.svg"
    ).exists()


def test_the_command_verifies_what_the_server_serves(kallithea, gearbox, front_end, tmp_path):
    # What is verified of each server is tested elsewhere.
    server = WebServer("nginx")
    words = ["static-export", "-c", kallithea.ini, server.static, "--overlay", front_end]
    site = ["--server", "nginx", "-o", server.conf, "--server-name", "localhost"]
    try:
        written = gearbox(*words, *site, "--port", server.port, cwd=str(tmp_path))
        assert written.returncode == 0, written.stderr
        server.configured()
        server.start()
        result = gearbox(*words, "--verify", server.url, cwd=str(tmp_path))
        assert result.returncode == 0 and "all as published" in result.stderr, (
            result.stdout + result.stderr
        )
        direct = "http://127.0.0.1:%d" % kallithea.port
        result = gearbox(*words, "--verify", direct, cwd=str(tmp_path))
        assert result.returncode == 1 and "answered by the application" in result.stdout
    finally:
        server.remove()
