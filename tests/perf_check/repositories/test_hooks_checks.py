"""Findings about hooks, judged by tables, and by real pushes to repositories of a real
installation.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from carry_out import carry_out
from environment import BIN

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database.client import client_of
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.remedy import Command, steps_of
from kallithea_tune.perf_check.repositories.git import GitRepository, LooseObjects, Packs, Refs
from kallithea_tune.perf_check.repositories.git_hooks import GitHook, GitHooks
from kallithea_tune.perf_check.repositories.hooks import (
    HOOKS_PAGE,
    UPDATE,
    CustomHook,
    ExpectedHook,
    PushHooks,
    Walk,
    custom_hooks,
    expected_hook,
    missing_file,
    push_hooks,
    walk_repository,
)
from kallithea_tune.perf_check.repositories.hooks_checks import (
    judge_custom,
    judge_git_hooks,
    judge_repo_size,
    problem,
)
from kallithea_tune.perf_check.repositories.mercurial import BranchCache, HgRepository, hooks_of
from kallithea_tune.perf_check.repositories.survey import Survey
from kallithea_tune.perf_check.services.hook_text import Waiting

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
OURS = GitHook("0.7.0", "/venv/bin/python3", executable=True, interpreter_found=True)
SOUND = GitHooks(OURS)
CLIENT = client_of("sqlite:////srv/kallithea.db")
EXPECTED = ExpectedHook("0.7.0", "/venv/bin/python")
ENVIRONMENT = {
    **os.environ,
    "PATH": "{}{}{}".format(BIN, os.pathsep, os.environ["PATH"]),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "me",
    "GIT_AUTHOR_EMAIL": "me@example.com",
    "GIT_COMMITTER_NAME": "me",
    "GIT_COMMITTER_EMAIL": "me@example.com",
}


def survey(
    hooks: GitHooks = SOUND, ui: Mapping[str, str] = {}, hgrc: Mapping[str, str] = {}
) -> Survey:
    """Return the survey of one Git and one Mercurial repository."""
    git = GitRepository("git", LooseObjects(0, 1), Packs(0, 0, False), Refs(1, 0), hooks, False)
    hg = HgRepository("hg", 1, (), 0, 0, BranchCache(-1, True), hgrc)
    return Survey("/srv", 1, 1, 2, git=(git,), hg=(hg,), hooks=ui)


@pytest.mark.parametrize(
    "hooks, words, severity",
    [
        (SOUND, "", Severity.ok),
        (GitHooks(replace(OURS, interpreter="/venv/bin/python3.8")), "", Severity.ok),
        (GitHooks(None), "pushes go unnoticed", Severity.warning),
        (GitHooks(replace(OURS, version="")), "another post-receive hook", Severity.warning),
        (GitHooks(replace(OURS, interpreter_found=False)), "cannot start", Severity.error),
        (GitHooks(replace(OURS, executable=False)), "cannot start", Severity.error),
        (GitHooks(replace(OURS, version="0.6.3")), "Kallithea 0.6.3", Severity.warning),
        (
            GitHooks(replace(OURS, interpreter="/usr/bin/python3")),
            "another Python",
            Severity.advice,
        ),
        (
            replace(SOUND, pre_receive=replace(OURS, version="0.6.3")),
            "refuses each push",
            Severity.error,
        ),
        (replace(SOUND, pre_receive=replace(OURS, version="")), "", Severity.ok),
        (replace(SOUND, hooks_path="/etc/git/hooks"), "/etc/git/hooks", Severity.warning),
    ],
)
def test_problems_of_kallitheas_hook(hooks: GitHooks, words: str, severity: Severity) -> None:
    diagnosis, found = problem(hooks, EXPECTED)
    assert words in diagnosis and found is severity


def test_a_version_that_is_not_known_is_not_compared() -> None:
    hooks = GitHooks(replace(OURS, version="0.6"))
    assert problem(hooks, ExpectedHook("", ""))[1] is Severity.ok


INSTALL = Command(("kallithea-cli", "repo-scan", "--install-git-hooks", "-c", "my.ini"))


@pytest.mark.parametrize(
    "hooks, remedy",
    [
        (GitHooks(None), "kallithea-cli repo-scan --install-git-hooks -c my.ini"),
        (
            GitHooks(replace(OURS, version="")),
            "cd /srv/git/hooks && mv -n post-receive post-receive-custom; kallithea-cli",
        ),
        (replace(SOUND, hooks_path="/x"), "git -C /srv/git config --unset core.hooksPath"),
        (GitHooks(None, hooks_path="/x", linked=True), "replace the link hooks with a directory"),
    ],
)
def test_remedies(hooks: GitHooks, remedy: str) -> None:
    (found,) = judge_git_hooks(survey(hooks), ExpectedHook("0.7.0", ""), INSTALL)
    assert str(found.remedy).startswith(remedy)


def test_a_remedy_is_for_all_repositories_with_the_problem() -> None:
    one = survey(replace(SOUND, hooks_path="/x"))
    two = replace(one, git=(one.git[0], replace(one.git[0], name="b")))
    (found,) = judge_git_hooks(two, EXPECTED, INSTALL)
    assert [str(step) for step in steps_of(found.remedy)] == [
        f"git -C /srv/{name} config --unset core.hooksPath" for name in ("git", "b")
    ]


@pytest.mark.parametrize(
    "walk, severity",
    [
        (Walk(499.0, 9, complete=True), Severity.ok),
        (Walk(501.0, 9, complete=True), Severity.advice),
        (Walk(401.0, 9, complete=False), Severity.advice),
    ],
)
def test_the_size_shown_after_a_push(walk: Walk, severity: Severity) -> None:
    assert judge_repo_size("hg", walk, CLIENT).severity is severity


@pytest.mark.parametrize(
    "ui, hgrc, subjects",
    [
        ({}, {}, {"custom": Severity.ok}),
        ({UPDATE: "python:"}, {}, {"update": Severity.advice, "custom": Severity.ok}),
        (
            {"changegroup.mail": "true"},
            {"changegroup.build": "make"},
            {"custom": Severity.unknown},
        ),
        ({"changegroup.mail": "sleep 10"}, {}, {"changegroup.mail": Severity.warning}),
        ({"changegroup.mail": "sleep 0.1"}, {}, {"changegroup.mail": Severity.advice}),
        ({"changegroup.mail": "curl x"}, {}, {"changegroup.mail": Severity.advice}),
        (
            {"changegroup.mail": "/nowhere/mail.sh x"},
            {},
            {"Admin > Settings > Hooks": Severity.warning},
        ),
        ({}, {"changegroup.build": "python:/nowhere/hook.py:build"}, {"hg": Severity.warning}),
    ],
)
def test_custom_hooks(
    ui: Mapping[str, str], hgrc: Mapping[str, str], subjects: Mapping[str, Severity]
) -> None:
    surveyed = survey(ui=ui, hgrc=hgrc)
    hooks = PushHooks("hg", None, UPDATE in ui, custom_hooks(surveyed, "/nowhere"))
    assert {
        found.subject: found.severity for found in judge_custom(surveyed, hooks, CLIENT)
    } == subjects


def test_hooks_of_kallithea_are_switched_off_by_their_remedies(instance: Path) -> None:
    def measured() -> PushHooks:
        return Context(load(str(instance)), Deadline(30)).measure(push_hooks)

    client = client_of(load(str(instance)).database_url)
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as database:
        database.execute("UPDATE ui SET ui_active = 1 WHERE ui_key LIKE 'changegroup.%'")
    database.close()
    planted = measured()
    assert planted.walk and planted.updates
    slow = judge_repo_size("hg-one", replace(planted.walk, ms=9000.0), client)
    (update,) = (
        found
        for found in judge_custom(survey(), planted, client)
        if found.severity is Severity.advice
    )
    for found in (slow, update):
        carry_out(found.remedy, instance)
    gone = measured()
    assert gone.walk is None and not gone.updates


def test_a_hook_of_many_repositories_is_one_finding_with_its_cost() -> None:
    hooks = tuple(
        CustomHook(place, "outgoing.x", waiting=Waiting(10.0, ("curl",))) for place in "abc"
    )
    (found,) = judge_custom(survey(), PushHooks("hg", None, False, hooks), CLIENT)
    assert found.diagnosis == (
        "the hook outgoing.x in a and 2 more sleeps 10 s, and each pull waits for it"
    )
    assert (found.impact_ms, found.impact_per) == (10_000.0, "pull")
    assert found.evidence == {"places": ["a", "b", "c"], "waits_for": ["curl"]}


def test_hooks_that_sleep_are_found_wherever_kallithea_runs_them(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as database:
        database.execute(
            "INSERT INTO ui (ui_section, ui_key, ui_value, ui_active) "
            "VALUES ('hooks', 'changegroup.notify', 'sleep 10', 1)"
        )
    database.close()
    custom = instance.parent / "repos" / "git-one" / "hooks" / "post-receive-custom"
    custom.write_text("#!/bin/sh\nsleep 20\n")
    custom.chmod(0o755)
    (instance.parent / "extensions.py").write_text(
        "import time\ndef PUSH_HOOK(*args, **kwargs):\n    time.sleep(30)\n"
    )
    done = gearbox("perf-check", "-c", instance, "--only", "HOOK001", "-f", "json", cwd=tmp_path)
    found = {item["subject"]: item for item in json.loads(done.stdout)}
    assert {name: item["impact_ms"] for name, item in found.items() if item["impact_ms"]} == {
        "changegroup.notify": 10_000,
        "post-receive-custom": 20_000,
        "PUSH_HOOK": 30_000,
    }, done.stdout


def test_hooks_of_an_hgrc_and_their_files(tmp_path: Path) -> None:
    (tmp_path / ".hg").mkdir()
    (tmp_path / ".hg" / "hgrc").write_text(
        f"[ui]\nusername = me\n[hooks]\n# changegroup.no = x\nchangegroup.a = {sys.executable}\n"
        "  more\nincoming =\n[web]\nname = x\n"
    )
    assert hooks_of(str(tmp_path)) == {"changegroup.a": sys.executable, "incoming": ""}
    assert (
        missing_file(sys.executable + " -c pass")
        == ""
        == missing_file("python:package.module.function")
    )
    assert missing_file("'/nowhere/a b' c") == "/nowhere/a b" and missing_file("it's") == ""


def test_the_largest_repository_is_walked_and_missing_files_are_found(
    instance: Path, pristine: Path
) -> None:
    path = instance.parent / "repos" / "hg-two" / ".hg"
    (path / "hgrc").write_text("[hooks]\nchangegroup.build = /nowhere/build\n")
    (path / "large").write_bytes(b"x" * 10_000_000)
    hooks = Context(load(str(instance)), Deadline(30)).measure(push_hooks)
    assert hooks.largest == "hg-two" and hooks.walk and hooks.walk.files > 10
    assert CustomHook("hg-two", "changegroup.build", "/nowhere/build") in hooks.custom
    assert {hook.place for hook in hooks.custom} <= {"hg-two", HOOKS_PAGE} and not hooks.updates


def test_the_interpreter_is_that_of_the_setting_or_of_this_process(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    def measured() -> ExpectedHook:
        return Context(load(str(instance)), Deadline(30)).measure(expected_hook)

    setting = load(str(instance)).settings["git_hook_interpreter"]
    edit(instance, f"git_hook_interpreter = {setting}", "git_hook_interpreter = /venv/python")
    assert measured() == ExpectedHook("0.7.0", "/venv/python")
    edit(instance, "git_hook_interpreter = /venv/python", "git_hook_interpreter =")
    assert measured() == ExpectedHook("0.7.0", sys.executable)


def test_the_walk_counts_what_the_hook_counts_and_stops_in_time(pristine: Path) -> None:
    path = pristine / "repos" / "hg-one"
    files = sum(len(names) for _, _, names in os.walk(str(path)))
    walk = walk_repository(str(path), 60)
    assert walk.files == files and walk.complete
    assert not walk_repository(str(path), 0).complete


def push(repository: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """Push a new commit to the repository as a user does."""
    work = tmp_path / "work"
    for args in (
        ["clone", "-q", str(repository), str(work)],
        ["-C", str(work), "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *args], env=ENVIRONMENT, check=True)
    return subprocess.run(
        ["git", "-C", str(work), "push", "-q"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def checked(gearbox: Gearbox, instance: Path, cwd: Path) -> Any:
    """Return the first finding of the check of Git hooks."""
    return json.loads(
        gearbox("perf-check", "-c", instance, "--only", "HOOK002", "-f", "json", cwd=cwd).stdout
    )[0]


@pytest.mark.once
def test_an_old_pre_receive_hook_refuses_pushes_and_the_remedy_lets_them_in(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    repository = instance.parent / "repos" / "git-one"
    assert checked(gearbox, instance, tmp_path)["severity"] == "ok"
    hook = repository / "hooks" / "pre-receive"
    # What such a hook of Kallithea 0.6 does.
    hook.write_text(
        f"#!{sys.executable}\nimport sys, kallithea.lib.hooks\nKALLITHEA_HOOK_VER = '0.6.3'\n"
        "sys.exit(kallithea.lib.hooks.handle_git_pre_receive('.', sys.stdin.readlines()))\n"
    )
    hook.chmod(0o755)
    found = checked(gearbox, instance, tmp_path)
    assert found["severity"] == "error" and "refuses each push: git-one" in found["diagnosis"]
    refused = push(repository, tmp_path / "one")
    assert refused.returncode and "pre-receive hook declined" in refused.stderr
    subprocess.run(
        found["remedy"],
        shell=True,
        cwd=str(instance.parent),
        env=ENVIRONMENT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert checked(gearbox, instance, tmp_path)["severity"] == "ok"
    assert push(repository, tmp_path / "two").returncode == 0


def test_a_hook_whose_python_is_gone_lets_pushes_in_unnoticed(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    hook = instance.parent / "repos" / "git-one" / "hooks" / "post-receive"
    rest = hook.read_text().partition("\n")[2]
    hook.write_text("#!/nowhere/bin/python3\n" + rest)
    found = checked(gearbox, instance, tmp_path)
    assert found["severity"] == "error" and "cannot start" in found["diagnosis"]
    pushed = push(instance.parent / "repos" / "git-one", tmp_path)
    assert pushed.returncode == 0 and "post-receive" in pushed.stderr


def test_another_hook_is_kept_beside_kallitheas_by_the_remedy(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    hooks = instance.parent / "repos" / "git-one" / "hooks"
    (hooks / "post-receive").write_text("#!/bin/sh\ntouch ran\n")
    found = checked(gearbox, instance, tmp_path)
    assert (found["severity"], found["evidence"]["names"]) == ("warning", ["git-one"])
    subprocess.run(
        found["remedy"],
        shell=True,
        env=ENVIRONMENT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert checked(gearbox, instance, tmp_path)["severity"] == "ok"
    push(instance.parent / "repos" / "git-one", tmp_path)
    assert (hooks.parent / "ran").exists()
