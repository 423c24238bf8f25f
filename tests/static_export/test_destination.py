"""Where releases may go, on real directories, links and mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mounted import tmpfs

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.release import destination, manifest


def test_foreign_files_and_dangerous_places_are_refused(export, public, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "link"
    link.symlink_to(outside)
    (tmp_path / "file").write_text("mine")
    places = (
        Path("/"),
        Path("/static"),
        Path.home(),
        public,
        public / "static",
        public.parent,
        foreign,
        link,
        tmp_path / "file",
    )
    for place in places:
        with pytest.raises(Refused):
            export(place=place)
    assert (foreign / "mine.txt").read_text() == "mine" and os.listdir(str(outside)) == []


def test_a_link_to_another_place_is_refused_though_a_release_is_there(export, tmp_path):
    place, _ = export()
    other = tmp_path / "www" / "other"
    other.symlink_to(place.resolve())
    with pytest.raises(Refused, match="which is not one of its releases"):
        export(place=other)


def test_a_file_that_the_admin_put_into_the_release_is_refused_and_kept(export):
    place, _ = export()
    (place / "robots.txt").write_text("mine")
    with pytest.raises(Refused, match=r"robots\.txt"):
        export("2")
    assert (place / "robots.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["0007", "backup", "notes.txt"])
def test_what_is_not_ours_among_the_releases_is_refused_and_kept(export, name):
    place, _ = export()
    holder = place.resolve().parent
    (holder / name).mkdir()
    (holder / name / "mine").write_text("mine")
    with pytest.raises(Refused, match=f"{holder / name} is not a release"):
        export("2")
    assert (holder / name / "mine").read_text() == "mine"


def test_a_directory_of_releases_that_is_a_link_is_refused(export, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "static.releases").symlink_to(outside)
    with pytest.raises(Refused, match="not a directory created by static-export"):
        export()
    assert os.listdir(str(outside)) == []


@pytest.mark.parametrize("name", ["static", "static.releases"])
def test_a_mount_point_is_refused_before_anything_is_written(export, tmp_path, name):
    (tmp_path / "www").mkdir()
    with tmpfs(tmp_path / "www" / name, "size=1m") as mounted:
        with pytest.raises(Refused, match="is a mount point"):
            export()
        assert os.listdir(str(mounted)) == []


def test_an_empty_directory_becomes_the_link(export, tmp_path):
    (tmp_path / "www" / "static").mkdir(parents=True)
    place, _ = export()
    assert place.is_symlink() and (place / "css" / "style.css").exists()


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"format": 2}', '{"format": 1, "recipe": 3}'])
def test_a_damaged_manifest_is_refused(export, text):
    place, _ = export()
    (place / manifest.NAME).write_text(text)
    with pytest.raises(Refused, match="damaged"):
        export("2")


def test_a_lost_manifest_is_refused(export):
    place, _ = export()
    (place / manifest.NAME).unlink()
    with pytest.raises(Refused, match="has no " + manifest.NAME):
        export("2")


def test_a_missing_directory_around_it_is_told(tmp_path):
    with pytest.raises(ConfigError, match="{} does not exist".format(tmp_path / "no")):
        destination.published(str(tmp_path / "no" / "static"))


@pytest.mark.parametrize("text", ["", " ", "a\nb"])
def test_what_is_no_path_is_told(text):
    with pytest.raises(ConfigError, match="DEST"):
        destination.absolute(text)


def test_a_slash_at_the_end_means_the_same(tmp_path):
    assert destination.absolute(f"{tmp_path}/static/") == f"{tmp_path}/static"
