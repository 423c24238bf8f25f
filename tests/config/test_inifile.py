"""Editing real ini files: comments stay, the owner's file is complete at any moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kallithea_tune.config import inifile
from kallithea_tune.errors import ConfigError, Refused


def test_a_real_ini_changes_in_the_asked_lines_only(instance):
    before = instance.read_text()
    edit = inifile.plan(
        str(instance), "app:main", {"static_files": "false", "serve_static": "false"}
    )
    changed = [
        line
        for line in edit.diff.splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert changed == ["+serve_static = false", "-static_files = true", "+static_files = false"]
    assert instance.read_text() == before
    os.chmod(str(instance), 0o640)
    backup = inifile.write(edit)
    assert Path(backup).read_text() == before and os.stat(backup).st_mode & 0o777 == 0o640
    assert instance.read_text() == edit.after and os.stat(str(instance)).st_mode & 0o777 == 0o640
    assert inifile.plan(
        str(instance), "app:main", {"static_files": "false", "serve_static": "false"}
    ).is_empty


def test_line_ends_links_and_odd_values_survive(tmp_path):
    real, link = tmp_path / "real.ini", tmp_path / "link.ini"
    real.write_bytes(
        b"; first\r\n[a]\r\nuse = egg:x\r\n# about b\r\nb = 1%%\r\n\r\n[c]\r\nCamel=Case\r\n"
    )
    link.symlink_to(real)
    inifile.write(inifile.plan(str(link), "a", {"b": "2"}))
    assert link.is_symlink()
    assert (
        real.read_bytes()
        == b"; first\r\n[a]\r\nuse = egg:x\r\n# about b\r\nb = 2\r\n\r\n[c]\r\nCamel=Case\r\n"
    )


def test_a_file_changed_meanwhile_is_left_alone(instance):
    edit = inifile.plan(str(instance), "app:main", {"serve_static": "false"})
    instance.write_text(instance.read_text() + "# another hand\n")
    with pytest.raises(Refused, match="changed by another process"):
        inifile.write(edit)
    assert instance.read_text().endswith("# another hand\n")


def test_a_missing_section_is_one_sentence(instance):
    with pytest.raises(ConfigError, match=r"no section \[app:none\]"):
        inifile.plan(str(instance), "app:none", {"a": "b"})


def test_an_option_without_a_value_is_removed_and_its_neighbours_stay(instance):
    before = instance.read_text()
    edit = inifile.also(
        inifile.unchanged(str(instance)), "app:main", {"static_files": None, "not_there": None}
    )
    changed = [line for line in edit.diff.splitlines() if line[:1] in "+-"][2:]
    assert changed == ["-static_files = true"]
    assert edit.after == before.replace("static_files = true\n", "")
