"""What is found below real directories, and what is refused there."""

from __future__ import annotations

import dataclasses
import os

import pytest

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.sources.collect import collect


@pytest.fixture
def public(tmp_path):
    root = tmp_path / "public"
    (root / "css").mkdir(parents=True)
    (root / "css" / "style.css").write_text("app")
    (root / "LICENSES.txt").write_text("GPL")
    return root


def found(*roots):
    return collect([str(root) for root in roots], {})


def test_every_entry_is_found_and_dotfiles_are_not(public):
    (public / "next").mkdir()
    (public / "next" / "version.js").write_text("1")
    (public / ".git").mkdir()
    (public / ".git" / "config").write_text("secret")
    (public / "css" / ".style.css.swp").write_text("secret")
    assert sorted(found(public)) == ["LICENSES.txt", "css/style.css", "next/version.js"]


def test_the_later_overlay_wins(public, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "css").mkdir(parents=True)
        (tmp_path / name / "css" / "style.css").write_text(name)
    assert found(public, tmp_path / "one", tmp_path / "two")["css/style.css"].source.startswith(
        str(tmp_path / "two")
    )
    assert found(public, tmp_path / "two", tmp_path / "one")["css/style.css"].source.startswith(
        str(tmp_path / "one")
    )


def test_what_is_known_is_not_read_again(public):
    known = {
        path: dataclasses.replace(file, sha256="of before") for path, file in found(public).items()
    }
    assert collect([str(public)], known) == known


def test_what_changed_within_its_size_and_time_is_read_again(public):
    before, style = found(public), public / "css" / "style.css"
    time = style.stat().st_mtime_ns
    style.write_text("APP")
    os.utime(str(style), ns=(time, time))
    after = collect([str(public)], before)["css/style.css"]
    assert (after.size, after.mtime_ns) == (before["css/style.css"].size, time)
    assert after.sha256 == found(public)["css/style.css"].sha256 != before["css/style.css"].sha256


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_not(public, tmp_path):
    (public / "css" / "same.css").symlink_to("style.css")
    assert found(public)["css/same.css"].sha256 == found(public)["css/style.css"].sha256
    (tmp_path / "private").write_text("secret")
    (public / "css" / "private").symlink_to(tmp_path / "private")
    with pytest.raises(Refused, match="is a link out of"):
        found(public)


def test_a_link_to_a_directory_is_refused_and_one_to_nothing_is_not_served(public):
    (public / "gone.css").symlink_to("nowhere")
    assert "gone.css" not in found(public)
    (public / "round").symlink_to(".")
    with pytest.raises(Refused, match="link to a directory"):
        found(public)


@pytest.mark.parametrize("name", [b"new\nline", b"\xff.css", b"\x7f", b"a?b.css", b"a\\b.css"])
def test_names_that_not_every_web_server_finds_are_refused(public, name):
    open(os.path.join(os.fsencode(str(public)), name), "w").close()
    with pytest.raises(Refused, match="rename it"):
        found(public)


def test_a_file_where_a_directory_is_wanted_is_refused(public, tmp_path):
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme" / "css").write_text("a file")
    with pytest.raises(Refused, match="needs a directory of that name"):
        found(public, tmp_path / "theme")
    with pytest.raises(Refused, match="needs a directory of that name"):
        found(tmp_path / "theme", public)


def test_what_cannot_be_read_is_told(public, tmp_path):
    for missing in (tmp_path / "no", public / "LICENSES.txt"):
        with pytest.raises(ConfigError, match=f"{missing} cannot be read"):
            found(public, missing)
