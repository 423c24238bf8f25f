"""What is said of hooks, judged by tables, and by real pushes to repositories of a real
installation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from environment import BIN

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.hooks import hg_hooks, missing_file, repo_size
from kallithea_tune.perf_check.repositories.hooks_checks import (
    UPDATE,
    ailment,
    installed,
    judge_custom,
    judge_git_hooks,
    judge_repo_size,
)

OURS = {"version": "0.7.0", "interpreter": "/venv/bin/python3", "executable": True, "starts": True}
SOUND: Mapping[str, Any] = {
    "post_receive": OURS,
    "pre_receive": None,
    "custom": [],
    "hooks_path": "",
}
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
    hooks: Mapping[str, Any] = SOUND, ui: Mapping[str, str] = {}, hgrc: Mapping[str, str] = {}
) -> Any:
    """Return the survey of one Git and one Mercurial repository."""
    return {
        "root": "/srv",
        "kinds": {"git": 1, "hg": 1},
        "ordered": True,
        "hooks": ui,
        "examined": [
            {"name": "git", "kind": "git", "bytes": 1, "hooks": hooks},
            {"name": "hg", "kind": "hg", "bytes": 1, "hooks": hgrc},
        ],
    }


@pytest.mark.parametrize(
    "change, words, severity",
    [
        ({}, "", Severity.ok),
        ({"post_receive": dict(OURS, interpreter="/venv/bin/python3.8")}, "", Severity.ok),
        ({"post_receive": None}, "pushes go unnoticed", Severity.warning),
        ({"post_receive": dict(OURS, version="")}, "somebody else's", Severity.warning),
        ({"post_receive": dict(OURS, starts=False)}, "cannot start", Severity.error),
        ({"post_receive": dict(OURS, executable=False)}, "cannot start", Severity.error),
        ({"post_receive": dict(OURS, version="0.6.3")}, "Kallithea 0.6.3", Severity.warning),
        (
            {"post_receive": dict(OURS, interpreter="/usr/bin/python3")},
            "another Python",
            Severity.advice,
        ),
        ({"pre_receive": dict(OURS, version="0.6.3")}, "refuses each push", Severity.error),
        ({"pre_receive": dict(OURS, version="")}, "", Severity.ok),
        ({"hooks_path": "/etc/git/hooks"}, "/etc/git/hooks", Severity.warning),
    ],
)
def test_what_ails_kallitheas_hook(
    change: Mapping[str, Any], words: str, severity: Severity
) -> None:
    what, found = ailment({"hooks": {**SOUND, **change}}, "0.7.0", "/venv/bin/python")
    assert words in what and found is severity


def test_a_version_that_is_not_known_is_not_compared() -> None:
    assert (
        ailment({"hooks": dict(SOUND, post_receive=dict(OURS, version="0.6"))}, "", "")[1]
        is Severity.ok
    )


@pytest.mark.parametrize(
    "change, remedy",
    [
        ({"post_receive": None}, "kallithea-cli repo-scan -c my.ini --install-git-hooks"),
        (
            {"post_receive": dict(OURS, version="")},
            "cd /srv/git/hooks; mv -n post-receive post-receive-custom; ",
        ),
        ({"hooks_path": "/x"}, "git -C /srv/git config --unset core.hooksPath"),
    ],
)
def test_remedies(change: Mapping[str, Any], remedy: str) -> None:
    (found,) = judge_git_hooks(survey({**SOUND, **change}), "0.7.0", "", "my.ini")
    assert found.remedy.startswith(remedy)


@pytest.mark.parametrize(
    "walk, severity",
    [
        ({"ms": 499.0, "files": 9, "complete": True}, Severity.ok),
        ({"ms": 501.0, "files": 9, "complete": True}, Severity.advice),
        ({"ms": 401.0, "files": 9, "complete": False}, Severity.advice),
    ],
)
def test_the_size_shown_after_a_push(walk: Mapping[str, Any], severity: Severity) -> None:
    assert judge_repo_size(survey(), "hg", walk).severity is severity


@pytest.mark.parametrize(
    "ui, hgrc, subjects",
    [
        ({}, {}, {"custom": Severity.ok}),
        ({UPDATE: "python:"}, {}, {"update": Severity.advice, "custom": Severity.ok}),
        ({"changegroup.mail": "true"}, {"changegroup.build": "make"}, {"custom": Severity.ok}),
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
    assert {
        found.subject: found.severity for found in judge_custom(survey(ui=ui, hgrc=hgrc))
    } == subjects


def test_hooks_of_an_hgrc_and_their_files(tmp_path: Path) -> None:
    (tmp_path / ".hg").mkdir()
    (tmp_path / ".hg" / "hgrc").write_text(
        f"[ui]\nusername = me\n[hooks]\n# changegroup.no = x\nchangegroup.a = {sys.executable}\n  more\nincoming =\n[web]\nname = x\n"
    )
    assert hg_hooks(str(tmp_path)) == {"changegroup.a": sys.executable, "incoming": ""}
    assert (
        missing_file(sys.executable + " -c pass")
        == ""
        == missing_file("python:package.module.function")
    )
    assert missing_file("'/nowhere/a b' c") == "/nowhere/a b" and missing_file("it's") == ""


def test_the_walk_counts_what_the_hook_counts_and_stops_in_time(pristine: Path) -> None:
    path = pristine / "repos" / "hg-one"
    files = sum(len(names) for _, _, names in os.walk(str(path)))
    assert repo_size(str(path), 60)["files"] == files and repo_size(str(path), 60)["complete"]
    assert not repo_size(str(path), 0)["complete"]


def push(repository: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """Push a new commit to the repository as a user does."""
    work = tmp_path / "work"
    for words in (
        ["clone", "-q", str(repository), str(work)],
        ["-C", str(work), "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *words], env=ENVIRONMENT, check=True)
    return subprocess.run(
        ["git", "-C", str(work), "push", "-q"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def checked(gearbox: Callable[..., Any], instance: Path, cwd: Path) -> Any:
    """Return the first finding of the check of Git hooks."""
    return json.loads(
        gearbox("perf-check", "-c", instance, "--only", "HOOK002", "-f", "json", cwd=cwd).stdout
    )[0]


def test_an_old_pre_receive_hook_refuses_pushes_and_the_remedy_lets_them_in(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
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
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    hook = instance.parent / "repos" / "git-one" / "hooks" / "post-receive"
    rest = hook.read_text().partition("\n")[2]
    hook.write_text("#!/nowhere/bin/python3\n" + rest)
    found = checked(gearbox, instance, tmp_path)
    assert found["severity"] == "error" and "cannot start" in found["diagnosis"]
    pushed = push(instance.parent / "repos" / "git-one", tmp_path)
    assert pushed.returncode == 0 and "post-receive" in pushed.stderr


def test_another_hook_is_kept_beside_kallitheas_by_the_remedy(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
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


def test_the_installed_version_is_that_of_the_package() -> None:
    assert installed("egg:kallithea") == "0.7.0" == installed("egg:Kallithea#main")
    assert installed("egg:no-such-thing") == "" == installed("call:module:make")
