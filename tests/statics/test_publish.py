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

from kallithea_tune import release
from kallithea_tune.errors import Refused
from kallithea_tune.probes.static_export import damaged
from kallithea_tune.probes.static_files import collect
from kallithea_tune.release import Recipe
from kallithea_tune.statics import bring, compress, destination, publish
from kallithea_tune.statics.plan import Served, make


@pytest.fixture
def public(tmp_path):
    root = tmp_path / "app" / "public"
    for path, text in (("css/style.css", "a {}\n" * 500), ("js/base.js", "var a;\n" * 500), ("LICENSES.txt", "short")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def export(public, tmp_path):
    def call(version="1", overlays=(), place=tmp_path / "www" / "static", left_out=(), **recipe):
        place.parent.mkdir(exist_ok=True)
        before = destination.published(str(place))
        destination.check_apart(str(place), [str(public)])
        files = collect([str(public), *map(str, overlays)], before.sources if before else {})
        served = Served("app", version, (str(public),), files, left_out)
        todo = make(before, served, Recipe(**recipe), damaged(before, str(place)) if before else [])
        if not todo.nothing:
            publish.carry_out(todo, str(place))
        return place, todo

    return call


def test_first_publication_is_whole_and_a_second_changes_nothing(export, public):
    place, _ = export()
    assert (place / "css" / "style.css").read_bytes() == (public / "css" / "style.css").read_bytes()
    assert gzip.decompress((place / "css" / "style.css.gz").read_bytes()) == (
        (public / "css" / "style.css").read_bytes())
    assert not (place / "LICENSES.txt.gz").exists()
    target = os.readlink(str(place))
    _, todo = export()
    assert todo.nothing and os.readlink(str(place)) == target


def test_unchanged_files_keep_inode_and_variants(export, public):
    place, _ = export()
    names = ("js/base.js", "js/base.js.gz", "css/style.css", "css/style.css.gz")
    before = {name: os.stat(str(place / name)).st_ino for name in names}
    (public / "css" / "style.css").write_text("b {}\n" * 500)
    _, todo = export("2")
    after = {name: os.stat(str(place / name)).st_ino for name in names}
    assert todo.differences.changed == ["css/style.css"] and list(todo.compressing) == [("css/style.css", "gzip")]
    assert {name for name in names if before[name] != after[name]} == {"css/style.css", "css/style.css.gz"}
    assert gzip.decompress((place / "css" / "style.css.gz").read_bytes()).startswith(b"b {}")


def test_files_that_went_away_stay_for_the_kept_releases_only(export, public):
    place, _ = export("1")
    (public / "js" / "base.js").unlink()
    _, todo = export("2")
    assert list(todo.kept) == ["js/base.js"] and (place / "js" / "base.js.gz").exists()
    _, todo = export("2")
    assert todo.nothing
    _, todo = export("3")
    assert list(todo.removed) == ["js/base.js"] and not (place / "js" / "base.js").exists()


def test_overlay_wins_and_dotfiles_are_never_published(export, public, tmp_path):
    overlay = tmp_path / "theme"
    (overlay / "css").mkdir(parents=True)
    (overlay / "css" / "style.css").write_text("theme")
    (overlay / ".git").mkdir()
    (overlay / ".git" / "config").write_text("secret")
    place, _ = export(overlays=[overlay])
    assert (place / "css" / "style.css").read_text() == "theme"
    assert not (place / ".git").exists()


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
            export(place=place)
    assert (foreign / "mine.txt").read_text() == "mine" and os.listdir(str(outside)) == []


def test_a_file_that_the_admin_put_into_the_release_is_refused_and_kept(export):
    place, _ = export()
    (place / "robots.txt").write_text("mine")
    with pytest.raises(Refused, match=r"robots\.txt"):
        export("2")
    assert (place / "robots.txt").read_text() == "mine"


@pytest.mark.parametrize("how", bring.HOW)
def test_every_way_of_publishing_serves_the_same_bytes(export, public, how):
    place, _ = export(how=how)
    for name in ("css/style.css", "LICENSES.txt"):
        assert (place / name).read_bytes() == (public / name).read_bytes()
    assert (place / "LICENSES.txt").is_symlink() is (how == "symlink")
    assert os.stat(str(public / "LICENSES.txt")).st_mode & 0o777 == 0o644


def test_variants_are_the_same_bytes_every_time(public, tmp_path):
    first, second = public / "css" / "style.css", tmp_path / "copy.css"
    second.write_bytes(first.read_bytes())
    for coding, suffix in release.SUFFIXES.items():
        assert compress.write_variant(str(first), coding) == compress.write_variant(str(second), coding) > 0
        assert Path(str(first) + suffix).read_bytes() == Path(str(second) + suffix).read_bytes()


def test_a_damaged_manifest_is_refused(export):
    place, _ = export()
    (place / release.NAME).write_text("{}")
    with pytest.raises(Refused, match="damaged"):
        export("2")


PUBLISHER = """
import sys
from kallithea_tune.probes.static_files import collect
from kallithea_tune.release import Recipe
from kallithea_tune.statics import destination, publish
from kallithea_tune.statics.plan import Served, make
public, place, version = sys.argv[1:]
before = destination.published(place)
publish.carry_out(make(before, Served("app", version, (public,), collect([public], {})), Recipe(keep=0)), place)
"""


def test_killed_at_any_instant_one_release_stands_whole(public, tmp_path):
    place = tmp_path / "www" / "static"
    place.parent.mkdir()
    files = ["css/style.css", "js/base.js"] + ["js/f%d.js" % number for number in range(100)]

    def state():
        return {(place / name).read_text()[:9] for name in files}

    def publisher(number):
        for name in files:
            (public / name).write_text("/* %03d */\n" % number * 300)
        return subprocess.Popen([sys.executable, "-c", PUBLISHER, str(public), str(place), str(number)])

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
    assert not [name for name in os.listdir(str(place) + ".releases") if name.startswith(destination.STAGING)]
