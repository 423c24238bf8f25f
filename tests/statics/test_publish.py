"""Publishing real files: what is swapped in, what keeps its inode, what is refused, what a kill leaves."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kallithea_tune.errors import Refused
from kallithea_tune.statics import compress, manifest, publish
from kallithea_tune.statics.collect import collect


@pytest.fixture
def public(tmp_path):
    root = tmp_path / "app" / "public"
    for path, text in (("css/style.css", "a {}\n" * 500), ("js/base.js", "var a;\n" * 500), ("LICENSES.txt", "short")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def export(public, tmp_path):
    def call(version="1", overlays=(), codings=("gzip",), keep=1, how="copy", destination=tmp_path / "www" / "static"):
        destination.parent.mkdir(exist_ok=True)
        before = publish.check_destination(str(destination), [str(public)])
        known = before.sources if before else {}
        files = collect([str(public), *map(str, overlays)], known)
        todo = publish.plan(before, files, "app", version, how, codings, keep)
        if not todo.nothing:
            publish.carry_out(todo, str(destination), 0o644, None, 1)
        return destination, todo

    return call


def test_first_publication_is_whole_and_a_second_changes_nothing(export, public):
    destination, _ = export()
    assert (destination / "css" / "style.css").read_bytes() == (public / "css" / "style.css").read_bytes()
    assert gzip.decompress((destination / "css" / "style.css.gz").read_bytes()) == (
        (public / "css" / "style.css").read_bytes())
    assert not (destination / "LICENSES.txt.gz").exists()
    target = os.readlink(str(destination))
    _, todo = export()
    assert todo.nothing and os.readlink(str(destination)) == target


def test_unchanged_files_keep_inode_and_variants(export, public):
    destination, _ = export()
    names = ("js/base.js", "js/base.js.gz", "css/style.css", "css/style.css.gz")
    before = {name: os.stat(str(destination / name)).st_ino for name in names}
    (public / "css" / "style.css").write_text("b {}\n" * 500)
    _, todo = export("2")
    after = {name: os.stat(str(destination / name)).st_ino for name in names}
    assert list(todo.changed) == ["css/style.css"] and list(todo.compressing) == [("css/style.css", "gzip")]
    assert {name for name in names if before[name] != after[name]} == {"css/style.css", "css/style.css.gz"}
    assert gzip.decompress((destination / "css" / "style.css.gz").read_bytes()).startswith(b"b {}")


def test_files_that_went_away_stay_for_the_kept_releases_only(export, public):
    destination, _ = export("1")
    (public / "js" / "base.js").unlink()
    _, todo = export("2")
    assert list(todo.kept) == ["js/base.js"] and (destination / "js" / "base.js.gz").exists()
    _, todo = export("2")
    assert todo.nothing
    _, todo = export("3")
    assert list(todo.removed) == ["js/base.js"] and not (destination / "js" / "base.js").exists()


def test_overlay_wins_and_dotfiles_are_never_published(export, public, tmp_path):
    overlay = tmp_path / "theme"
    (overlay / "css").mkdir(parents=True)
    (overlay / "css" / "style.css").write_text("theme")
    (overlay / ".git").mkdir()
    (overlay / ".git" / "config").write_text("secret")
    destination, _ = export(overlays=[overlay])
    assert (destination / "css" / "style.css").read_text() == "theme"
    assert not (destination / ".git").exists()


def test_a_link_that_leads_out_is_refused(export, public, tmp_path):
    (tmp_path / "private").write_text("secret")
    (public / "css" / "private").symlink_to(tmp_path / "private")
    with pytest.raises(Refused, match="leads out"):
        export()


def test_foreign_files_and_dangerous_places_are_refused(export, public, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "link"
    link.symlink_to(outside)
    for place in (Path("/"), Path.home(), public, public / "static", public.parent, foreign, link):
        with pytest.raises(Refused):
            export(destination=place)
    assert (foreign / "mine.txt").read_text() == "mine" and os.listdir(str(outside)) == []


def test_a_file_that_the_admin_put_into_the_release_is_refused_and_kept(export):
    destination, _ = export()
    (destination / "robots.txt").write_text("mine")
    with pytest.raises(Refused, match=r"robots\.txt"):
        export("2")
    assert (destination / "robots.txt").read_text() == "mine"


@pytest.mark.parametrize("how", publish.HOW)
def test_every_way_of_publishing_serves_the_same_bytes(export, public, how):
    destination, _ = export(how=how)
    for name in ("css/style.css", "LICENSES.txt"):
        assert (destination / name).read_bytes() == (public / name).read_bytes()
    assert (destination / "LICENSES.txt").is_symlink() is (how == "symlink")
    assert os.stat(str(public / "LICENSES.txt")).st_mode & 0o777 == 0o644


def test_variants_are_the_same_bytes_every_time(public, tmp_path):
    source = str(public / "css" / "style.css")
    for coding in ("gzip", "br", "zstd"):
        first, second = str(tmp_path / "1"), str(tmp_path / "2")
        assert compress.write_variant(source, first, coding) == compress.write_variant(source, second, coding) > 0
        assert Path(first).read_bytes() == Path(second).read_bytes()


def test_a_damaged_manifest_is_refused(export):
    destination, _ = export()
    (destination / manifest.NAME).write_text("{}")
    with pytest.raises(Refused, match="damaged"):
        export("2")


PUBLISHER = """
import sys
from kallithea_tune.statics import publish
from kallithea_tune.statics.collect import collect
public, destination, version = sys.argv[1:]
before = publish.check_destination(destination, [public])
todo = publish.plan(before, collect([public], {}), "app", version, "copy", ["gzip"], 0)
publish.carry_out(todo, destination, 0o644, None, 1)
"""


def test_killed_at_any_instant_one_release_stands_whole(public, tmp_path):
    destination = tmp_path / "www" / "static"
    destination.parent.mkdir()
    files = ["css/style.css", "js/base.js"] + ["js/f%d.js" % number for number in range(100)]

    def state():
        return {(destination / name).read_text()[:9] for name in files}

    def publisher(number):
        for name in files:
            (public / name).write_text("/* %03d */\n" % number * 300)
        return subprocess.Popen([sys.executable, "-c", PUBLISHER, str(public), str(destination), str(number)])

    assert publisher(0).wait() == 0
    seen = "/* 000 */"
    for number in range(1, 16):
        process = publisher(number)
        time.sleep(0.08 + number * 0.012)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (now,) = state()
        assert now in (seen, "/* %03d */" % number)
        seen = now
    assert publisher(99).wait() == 0
    assert state() == {"/* 099 */"}
    assert not [name for name in os.listdir(str(destination) + ".releases") if name.startswith(publish.STAGING)]
