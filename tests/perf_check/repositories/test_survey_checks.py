"""Findings about the repositories in general, judged by tables and on a real installation."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Callable, Mapping

import pytest
from carry_out import carry_out
from perf_check.repositories.real import bad
from perf_check.repositories.test_survey import HG, in_git, run

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.repositories.discovery import Kind, Removed
from kallithea_tune.perf_check.repositories.git import GitRepository, LooseObjects, Packs, Refs
from kallithea_tune.perf_check.repositories.git_hooks import GitHooks
from kallithea_tune.perf_check.repositories.mercurial import ABANDONED
from kallithea_tune.perf_check.repositories.survey import Ahead, FailedRepository, Survey
from kallithea_tune.perf_check.repositories.survey_checks import (
    broken,
    dates,
    judge_dates,
    judge_registered,
    judge_sizes,
    registered,
    sizes,
)
from kallithea_tune.perf_check.repositories.worst import Contents, Tips
from kallithea_tune.system.files import size_of

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
BIG = GitRepository(
    "big", LooseObjects(0, 0), Packs(1, 3_000_000_000, True), Refs(1, 0), GitHooks(None), True
)
ONE = Survey("/srv/repos", git_total=1, hg_total=0, registered=1, git=(BIG,))
NONE = replace(ONE, git=())
# Their pages are the application's.
OF_PAGES = ("REPO004", "REPO007")


@pytest.mark.parametrize(
    "surveyed, entry",
    [
        (ONE, 1),
        (
            replace(ONE, git=(BIG,) * 12, hg_total=9_000, git_total=1_000),
            "12 of 10000, largest first",
        ),
        (
            replace(ONE, git=(BIG,) * 12, hg_total=9_000, git_total=1_000, largest_first=False),
            "12 of 10000",
        ),
    ],
)
def test_the_sample_is_stated(surveyed: Survey, entry: object) -> None:
    assert surveyed.sample() == {"repositories": entry}


def test_a_repository_that_failed_was_examined_as_well() -> None:
    failed = FailedRepository("a", Kind.hg, "x")
    surveyed = replace(ONE, hg_total=3, broken=(failed,), unreadable=(failed,))
    assert surveyed.sample(Kind.git) == {"repositories": 1}
    assert surveyed.sample(Kind.hg) == {"repositories": "2 of 3, largest first"}
    assert surveyed.sample() == {"repositories": "3 of 4, largest first"}


@pytest.mark.parametrize(
    "deleted, size, severity",
    [
        (0, 0, Severity.ok),
        (9, 99_000_000, Severity.ok),
        (9, 299_000_000, Severity.ok),
        (9, 301_000_000, Severity.advice),
    ],
)
def test_deleted_repositories_are_worth_purging_when_they_take_a_tenth(
    deleted: int, size: int, severity: Severity
) -> None:
    found = judge_sizes(replace(ONE, removed=Removed(deleted, size)), "my.ini")
    assert found.severity is severity
    assert ("repo-purge-deleted" in str(found.remedy)) is (severity is Severity.advice)


@pytest.mark.parametrize(
    "surveyed, subjects",
    [
        (ONE, {"": Severity.ok}),
        (replace(ONE, missing=("a",), registered=2), {"missing": Severity.warning}),
        (replace(ONE, missing=("a", "b"), registered=2), {"missing": Severity.error}),
        (replace(ONE, unregistered=("a",)), {"unregistered": Severity.advice}),
        (
            replace(ONE, work_trees=("a b",), missing=("c",), registered=3),
            {"not bare": Severity.advice, "missing": Severity.warning},
        ),
    ],
)
def test_database_and_disk_are_to_agree(surveyed: Survey, subjects: Mapping[str, Severity]) -> None:
    found = list(judge_registered(surveyed, "my.ini"))
    assert {item.subject: item.severity for item in found} == subjects


def test_repositories_are_not_to_be_removed_when_their_disk_is_not_mounted() -> None:
    (found,) = judge_registered(replace(ONE, missing=("a", "b"), registered=2), "my.ini")
    assert isinstance(found.remedy, str)
    assert "--remove-missing" not in found.remedy and "mounted" in found.remedy


@pytest.mark.parametrize(
    "surveyed, severity, remedy",
    [
        (ONE, Severity.ok, ""),
        (
            replace(NONE, broken=(FailedRepository("a b", Kind.git, "x"),)),
            Severity.error,
            "git -C '/srv/repos/a b' fsck",
        ),
        (
            replace(NONE, broken=(FailedRepository("a", Kind.hg, "x"),)),
            Severity.error,
            "hg -R /srv/repos/a verify",
        ),
        (
            replace(NONE, broken=(FailedRepository("a", Kind.hg, ABANDONED),)),
            Severity.error,
            "hg -R /srv/repos/a recover",
        ),
        (
            replace(NONE, unreadable=(FailedRepository("a", Kind.git, "x: Permission denied"),)),
            Severity.unknown,
            "user",
        ),
        (
            replace(
                ONE,
                git=(replace(BIG, refs=Refs(1, 0, "refs/heads/master", "refs/heads/main")),),
            ),
            Severity.warning,
            "git -C /srv/repos/big symbolic-ref HEAD refs/heads/main",
        ),
    ],
)
def test_what_is_broken_is_reported_with_its_remedy(
    surveyed: Survey, severity: Severity, remedy: str
) -> None:
    (found,) = broken.judge(surveyed)
    assert found.severity is severity and remedy in str(found.remedy)


NOW, DAY = 1_800_000_000.0, 86400


@pytest.mark.parametrize(
    "committed, journal, subjects",
    [
        ([], Ahead(), [""]),
        ([0.0, NOW, NOW + 0.9 * DAY], Ahead(), [""]),
        ([NOW - DAY, NOW + 400 * DAY], Ahead(), ["commits"]),
        ([NOW], Ahead(3, 12.5), ["journal"]),
        ([NOW + 2 * DAY], Ahead(1, 2), ["commits", "journal"]),
    ],
)
def test_dates_a_day_ahead_are_of_a_wrong_clock(
    committed: "list[float]", journal: Ahead, subjects: "list[str]"
) -> None:
    contents = [
        Contents(str(number), Kind.git, committed=date) for number, date in enumerate(committed)
    ]
    found = judge_dates(journal, Tips(tuple(contents), len(contents)), NOW)
    assert [item.subject for item in found] == subjects


def test_dates_ahead_are_found_in_commits_and_in_the_journal(instance: Path) -> None:
    def found() -> "dict[str, str]":
        context = Context(load(str(instance)), Deadline(60))
        return {item.subject: item.diagnosis for item in dates.findings(context)}

    assert found() == {"": "no date is in the future"}
    repos = instance.parent / "repos"
    then = datetime.datetime.now() + datetime.timedelta(days=400, hours=1)
    tree = in_git(repos / "git-one", "rev-parse", "HEAD^{tree}").strip()
    line = f"tree {tree}\nauthor me <me> 1 +0000\ncommitter me <me> {then:%s} +0000\n\nx\n"
    made = in_git(repos / "git-one", "hash-object", "-w", "-t", "commit", "--stdin", input=line)
    in_git(repos / "git-one", "update-ref", "HEAD", made.strip())
    date = f"{then - datetime.timedelta(days=100):%s} 0"
    run(
        HG,
        "-R",
        repos / "hg-one",
        "commit",
        "-q",
        "--config",
        "ui.allowemptycommit=1",
        "-m",
        "x",
        "-d",
        date,
    )
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute(
            "INSERT INTO user_logs (username, repository_name, user_ip, action, action_date) "
            "VALUES ('me', 'hg-one', '', 'pull', ?)",
            [then.isoformat(" ")],
        )
    connection.close()
    assert found() == {
        "commits": "the last commit is dated 400 days ahead: git-one and 1 more",
        "journal": "1 entry of the journal is up to 400 days ahead",
    }


def test_what_can_be_repaired_is_sound_after_the_remedies(repos: Path) -> None:
    store = repos / "hg-one" / ".hg" / "store"
    (store / "journal").write_bytes(b"00changelog.i\0%d\n" % size_of(str(store), "00changelog.i"))
    (store / "journal.backupfiles").write_bytes(b"2\n")
    os.mkfifo(str(repos / "hg-two" / ".hg" / "hgrc"))
    branch = in_git(repos / "git-one", "symbolic-ref", "HEAD").strip()
    in_git(repos / "git-one", "symbolic-ref", "HEAD", "refs/heads/gone")
    found = bad(broken, repos)
    assert sorted(found) == ["git-one", "hg-one", "hg-two"]
    for item in found.values():
        carry_out(item.remedy, "")
    assert not bad(broken, repos)
    assert in_git(repos / "git-one", "symbolic-ref", "HEAD").strip() == branch


@pytest.mark.once
def test_repositories_are_registered_and_purged_as_advised(instance: Path) -> None:
    repos = instance.parent / "repos"
    shutil.copytree(str(repos / "git-one"), str(repos / "copied"), symlinks=True)
    months_ago = datetime.datetime.now() - datetime.timedelta(days=90)
    for date, size in ((months_ago, 150_000_000), (datetime.datetime.now(), 250_000_000)):
        removed = repos / f"rm__{date:%Y%m%d_%H%M%S_%f}_old"
        removed.mkdir()
        with open(str(removed / "file"), "wb") as file:
            file.truncate(size)

    def measured() -> "dict[str, Finding]":
        context = Context(load(str(instance)), Deadline(60))
        found = [*sizes.findings(context), *registered.findings(context)]
        return {item.check + item.subject: item for item in found if item.severity > Severity.ok}

    found = list(measured().values())
    assert [item.diagnosis for item in found] == [
        "1 repository deleted 30 days ago still takes 150 MB",
        "1 repository on disk is not in the database: copied",
    ]
    for item in found:
        carry_out(item.remedy, instance)
    assert not measured()
    (kept,) = repos.glob("rm__*")
    assert kept.name > f"rm__{months_ago:%Y%m%d_%H%M%S_%f}_old"


def test_a_real_installation_sound_and_spoilt(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    args = ("perf-check", "-c", instance, "--only", "REPO0*", "-f", "json")
    before = json.loads(gearbox(*args, cwd=tmp_path).stdout)
    assert {found["check"]: found["severity"] for found in before} == {
        "REPO001": "ok",
        "REPO002": "ok",
        "REPO003": "ok",
        "REPO004": "ok",
        "REPO005": "ok",
        "REPO006": "ok",
        "REPO007": "ok",
        "REPO008": "ok",
    }
    repos = instance.parent / "repos"
    shutil.rmtree(str(repos / "git-two"))
    (repos / "git-one" / "HEAD").unlink()
    result = gearbox(*args, cwd=tmp_path)
    after = {found["check"]: found for found in json.loads(result.stdout)}
    assert result.returncode == 1
    assert after["REPO002"]["severity"] == "warning" and "git-two" in after["REPO002"]["diagnosis"]
    assert (after["REPO003"]["severity"], after["REPO003"]["subject"]) == ("error", "git-one")


def test_without_a_database_the_area_is_unknown_and_says_why(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    (instance.parent / "kallithea.db").unlink()
    result = gearbox("perf-check", "-c", instance, "--only", "REPO0*", "-f", "json", cwd=tmp_path)
    found = json.loads(result.stdout)
    assert {item["severity"] for item in found} == {"unknown"} and result.returncode == 5
    # The pages are the application's, which does not load either.
    assert all(
        ("does not start" if item["check"] in OF_PAGES else "does not exist") in item["diagnosis"]
        for item in found
    )
    assert not (instance.parent / "kallithea.db").exists()
