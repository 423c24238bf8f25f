"""Real programs in place of git: slow ones, broken ones, and git itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import IniEdit
from kallithea_tune.perf_check.services.git_program import Git, GitProgram, git_program
from kallithea_tune.perf_check.services.git_program_checks import git_starts, judge

Edit = Callable[[Path, str, str], None]
GOOD = Git("/usr/bin/git", 4.0, "2.39.5")
SLOW = Git("/w", 700.0, "2.39.5")


@pytest.mark.parametrize(
    "git, other, severity, words",
    [
        (GOOD, None, Severity.ok, "starts in 4 ms"),
        (Git("/g", 40.0, "2.39.5"), GOOD, Severity.ok, ""),
        (Git("/g", 90.0, "2.39.5"), Git("/h", 80.0, "2.39.5"), Severity.ok, ""),
        (Git("/g", 190.0, "2.39.5"), None, Severity.ok, ""),
        (Git("/g", 60.0, "2.39.5"), GOOD, Severity.warning, "takes 60 ms"),
        (SLOW, GOOD, Severity.warning, "takes 700 ms to start: pages of Git"),
        (SLOW, None, Severity.warning, "takes 700 ms to start"),
        (
            Git("/w", 2000.0, failed="late", endless=True),
            GOOD,
            Severity.warning,
            "more than 2000 ms",
        ),
        (Git("/w", failed="none"), GOOD, Severity.error, "1 Git repository cannot be used"),
        (Git("/w", 4.0, "1.7.3"), GOOD, Severity.error, "does not start with it"),
        (Git("/w", 4.0, "1.7.4"), GOOD, Severity.ok, ""),
    ],
)
def test_a_git_is_judged_by_its_own_time_and_by_anothers(
    git: Git, other: "Git | None", severity: Severity, words: str
) -> None:
    finding = judge(GitProgram("/w", git, other), 1, "app:main")
    assert finding.severity is severity and words in finding.diagnosis


def test_the_cost_is_that_of_the_calls_of_a_page_without_gits_own() -> None:
    finding = judge(GitProgram("/w", SLOW, GOOD), 2, "app:main")
    assert finding.impact == "+1392 ms per summary page of a Git repository"
    assert isinstance(finding.remedy, IniEdit)
    elsewhere = judge(GitProgram("/w", SLOW, GOOD), 2, "")
    assert elsewhere.remedy == "set git_path = /usr/bin/git and restart Kallithea"


def wrapper(directory: Path, *lines: str) -> Path:
    path = directory / "wrapper"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def measured(ini: Path) -> GitProgram:
    return git_program.function(Context(load(str(ini)), Deadline(10)))


def test_a_slow_wrapper_is_found_and_gone_after_the_remedy(
    instance: Path, tmp_path: Path, edit: Edit
) -> None:
    def finding() -> Finding:
        (found,) = git_starts.findings(Context(load(str(instance)), Deadline(10)))
        return found

    assert finding().severity is Severity.ok
    slow = wrapper(tmp_path, "sleep 0.3", 'exec git "$@"')
    edit(instance, "git_path = git", f"git_path = {slow}")
    planted = finding()
    assert planted.severity is Severity.warning and planted.impact_ms and planted.impact_ms > 500
    carry_out(planted.remedy, instance)
    assert finding().severity is Severity.ok
    assert load(str(instance)).settings["git_path"] != str(slow)


def test_programs_that_are_missing_broken_or_hang_are_described(
    instance: Path, tmp_path: Path, edit: Edit
) -> None:
    edit(instance, "git_path = git", f"git_path = {tmp_path}/wrapper")
    missing = measured(instance)
    assert missing.git and missing.git.failed == "there is no such program"
    assert missing.other and missing.other.version
    wrapper(tmp_path, "exit 3")
    broken = measured(instance)
    assert broken.git and broken.git.failed == "it ended with status 3 and no version"
    wrapper(tmp_path, "exec sleep 60")
    hanging = measured(instance)
    assert hanging.git and hanging.git.endless


def test_a_strangers_program_and_a_relative_path_are_not_run(
    instance: Path, tmp_path: Path, edit: Edit
) -> None:
    ran = tmp_path / "ran"
    strangers = wrapper(tmp_path, f"touch {ran}")
    os.chown(str(strangers), 4711, 4711)
    edit(instance, "git_path = git", f"git_path = {strangers}")
    with pytest.raises(NotMeasured, match="belongs to another user"):
        measured(instance)
    edit(instance, f"git_path = {strangers}", "git_path = ./git")
    with pytest.raises(NotMeasured, match="depends on the directory"):
        measured(instance)
    assert not ran.exists()


def test_without_a_git_path_nothing_is_run(instance: Path, edit: Edit) -> None:
    edit(instance, "git_path = git", "git_path =")
    assert measured(instance) == GitProgram()
