"""Publishing real files: what is swapped in, what keeps its inode, what stays reachable."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from kallithea_tune.errors import Refused, TuneError
from kallithea_tune.static_export.release import compress, manifest, publish, stage

# What every release has of its own, whatever its files.
OURS = (manifest.NAME, manifest.RELEASE_NAME, manifest.SEAL_NAME)


def test_first_publication_is_whole_and_a_second_changes_nothing(export, public):
    place, _ = export()
    assert (place / "css" / "style.css").read_bytes() == (public / "css" / "style.css").read_bytes()
    assert gzip.decompress((place / "css" / "style.css.gz").read_bytes()) == (
        (public / "css" / "style.css").read_bytes()
    )
    assert not (place / "LICENSES.txt.gz").exists()
    target = os.readlink(str(place))
    _, todo = export()
    assert todo.is_empty and os.readlink(str(place)) == target


def test_unchanged_files_keep_inode_and_variants(export, public):
    place, _ = export()
    names = ("js/base.js", "js/base.js.gz", "css/style.css", "css/style.css.gz")
    before = {name: os.stat(str(place / name)).st_ino for name in names}
    (public / "css" / "style.css").write_text("b {}\n" * 500)
    _, todo = export("2")
    after = {name: os.stat(str(place / name)).st_ino for name in names}
    assert todo.differences.changed == ["css/style.css"] and list(todo.compressing) == [
        ("css/style.css", "gzip")
    ]
    assert {name for name in names if before[name] != after[name]} == {
        "css/style.css",
        "css/style.css.gz",
    }
    assert gzip.decompress((place / "css" / "style.css.gz").read_bytes()).startswith(b"b {}")


def test_files_that_went_away_stay_for_the_kept_releases_only(export, public):
    place, _ = export("1")
    (public / "js" / "base.js").unlink()
    _, todo = export("2")
    assert list(todo.kept) == ["js/base.js"] and (place / "js" / "base.js.gz").exists()
    _, todo = export("2")
    assert todo.is_empty
    _, todo = export("3")
    assert list(todo.removed) == ["js/base.js"] and not (place / "js" / "base.js").exists()


@pytest.mark.parametrize("how", stage.HOW)
def test_every_way_of_publishing_serves_the_same_bytes(export, public, how):
    place, _ = export(how=how)
    for name in ("css/style.css", "LICENSES.txt"):
        assert (place / name).read_bytes() == (public / name).read_bytes()
    assert (place / "LICENSES.txt").is_symlink() is (how == "symlink")
    assert os.stat(str(public / "LICENSES.txt")).st_mode & 0o777 == 0o644


def test_variants_are_the_same_bytes_every_time(public, tmp_path):
    first, second = public / "css" / "style.css", tmp_path / "copy.css"
    second.write_bytes(first.read_bytes())
    for coding, suffix in manifest.SUFFIXES.items():
        assert (
            compress.write_variant(str(first), coding)
            == compress.write_variant(str(second), coding)
            > 0
        )
        assert Path(str(first) + suffix).read_bytes() == Path(str(second) + suffix).read_bytes()


def inodes(place):
    return {
        str(path.relative_to(place)): os.stat(str(path)).st_ino
        for path in place.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("other", [{"mode": 0o600}, {"how": "hardlink"}, {"how": "symlink"}])
def test_what_is_served_now_is_not_touched_before_the_swap(export, planned, other):
    place, _ = export(keep=1)
    old = place.resolve()
    before = {name: (old / name).stat().st_mode for name in inodes(old)}

    def refuse(directory):
        raise Refused("no")

    with pytest.raises(Refused, match="no"):
        publish.publish(planned(**other), str(place), inspect=refuse)
    assert place.resolve() == old and sorted(os.listdir(str(old.parent))) == [".lock", "0001"]
    assert {name: (old / name).stat().st_mode for name in inodes(old)} == before


def test_mode_and_group_that_change_are_carried_out_on_files_that_did_not(export):
    place, _ = export()
    first = place.resolve()
    export(mode=0o640)
    assert place.resolve() != first
    for path in place.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path
    assert {path.stat().st_mode & 0o777 for path in first.rglob("*.*")} == {0o644}


def test_a_strict_umask_does_not_lock_the_web_server_out(export):
    before = os.umask(0o077)
    try:
        place, _ = export()
    finally:
        os.umask(before)
    for path in (place.resolve().parent, place.resolve(), *place.rglob("*")):
        assert path.stat().st_mode & 0o444 == 0o444, path


def test_hard_links_leave_the_applications_own_files_as_they_are(export, public):
    os.chmod(str(public / "LICENSES.txt"), 0o604)
    place, _ = export(how="hardlink", mode=0o640)
    assert (place / "LICENSES.txt").stat().st_mode & 0o777 == 0o604
    assert (place / "LICENSES.txt").samefile(public / "LICENSES.txt")
    assert (place / "css" / "style.css.gz").stat().st_mode & 0o777 == 0o640


def test_files_that_were_touched_only_stay_and_are_not_read_again(export, planned, public):
    place, _ = export()
    before = inodes(place)
    os.utime(str(public / "js" / "base.js"))
    _, todo = export()
    assert todo.is_empty and inodes(place) == before and todo.before != todo.after
    publish.record(todo, str(place))
    assert planned().before == planned().after
    _, todo = export("2")
    assert not todo.damaged and inodes(place)["js/base.js"] == before["js/base.js"]


@pytest.mark.parametrize("spoil", ["js/base.js", "js/base.js.gz"])
@pytest.mark.parametrize("how", ["removed", "changed"])
def test_what_was_damaged_in_the_release_is_mended(export, spoil, how):
    place, _ = export()
    before = inodes(place)
    (place / spoil).unlink()
    if how == "changed":
        (place / spoil).write_text("spoilt")
    _, todo = export()
    assert list(todo.damaged) == ["js/base.js"]
    assert (
        gzip.decompress((place / "js" / "base.js.gz").read_bytes())
        == (place / "js" / "base.js").read_bytes()
    )
    assert inodes(place)["css/style.css"] == before["css/style.css"]
    assert export()[1].is_empty


def test_a_file_that_is_left_out_leaves_at_once(export):
    place, _ = export(keep=3)
    _, todo = export(keep=3, left_out=["js/base.js"])
    assert (
        todo.removed == ["js/base.js"]
        and not todo.kept
        and not (place / "js" / "base.js.gz").exists()
    )
    assert export(keep=3, left_out=["js/base.js"])[1].is_empty


def test_only_the_releases_kept_stay_on_disk(export, public):
    for number in range(1, 7):
        (public / "js" / "base.js").write_text("// %d\n" % number)
        place, _ = export(str(number), keep=2)
    assert sorted(os.listdir(str(place) + ".releases")) == [".lock", "0004", "0005", "0006"]
    assert (place.parent / "static.releases" / "0004" / "js" / "base.js").read_text() == "// 4\n"


def test_variants_have_the_time_of_their_original(export, public):
    os.utime(str(public / "css" / "style.css"), (10**9, 10**9))
    place, _ = export(codings=("gzip", "br", "zstd"))
    for suffix in ("", *manifest.SUFFIXES.values()):
        assert os.stat(str(place / "css" / "style.css") + suffix).st_mtime == 10**9


def test_a_file_that_changes_while_it_is_copied_is_told(planned, public, tmp_path):
    todo = planned()
    (public / "js" / "base.js").write_text("other")
    with pytest.raises(TuneError, match="changed while it was published"):
        publish.publish(todo, str(tmp_path / "www" / "static"))
    assert not (tmp_path / "www" / "static").exists()


def test_a_coding_given_up_takes_its_variants_away_and_one_taken_up_makes_only_its_own(export):
    place, _ = export(codings=("gzip",))
    before = inodes(place)
    _, todo = export(codings=("gzip", "br"))
    assert {coding for _, coding in todo.compressing} == {"br"}
    assert {
        name: number
        for name, number in inodes(place).items()
        if name in before and name not in OURS
    } == {name: number for name, number in before.items() if name not in OURS}
    export(codings=("br",))
    assert not list(place.rglob("*.gz")) and list(place.rglob("*.br"))


def test_what_is_compressed_already_or_too_small_or_too_large_gets_no_variant():
    assert compress.worth_compressing("a.css", 2000)
    assert not compress.worth_compressing("a.png", 2000) and not compress.worth_compressing(
        "a.WOFF2", 2000
    )
    assert not compress.worth_compressing("a.css", 149) and not compress.worth_compressing(
        "a.css", 65 << 20
    )
