"""The real Kallithea, served by gearbox on each engine after the switch, and pushed to by the real
hg and git.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from environment import BIN
from servers.application import Kallithea

ENVIRONMENT = dict(
    os.environ,
    HGRCPATH="",
    GIT_CONFIG_GLOBAL=os.devnull,
    GIT_CONFIG_SYSTEM=os.devnull,
    GIT_TERMINAL_PROMPT="0",
    GIT_AUTHOR_NAME="Ann",
    GIT_AUTHOR_EMAIL="ann@example.com",
    GIT_COMMITTER_NAME="Ann",
    GIT_COMMITTER_EMAIL="ann@example.com",
    PATH="{}{}{}".format(BIN, os.pathsep, os.environ["PATH"]),
)

MODELS = """
import sys
from paste.deploy import loadapp
loadapp("config:" + sys.argv[1])
from kallithea.model import db
newest = db.UserLog.query().order_by(db.UserLog.user_log_id.desc()).limit(2).all()
print(db.User.query().count(), db.Repository.query().count(), db.UserLog.query().count(),
      *sorted("%s:%s" % (log.repository.repo_name, log.action.split(":")[0]) for log in newest))
"""


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=str(cwd),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def asked_of_models(ini: Path) -> list[str]:
    """Users, repositories and log rows, and the two newest of these, by Kallithea's own models."""
    done = subprocess.run(
        [sys.executable, "-c", MODELS, str(ini)],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    return done.stdout.split()


def push(port: int, work: Path) -> None:
    """Clone, commit and push, by hg and by git."""
    work.mkdir()
    for tool, name in (([BIN / "hg"], "hg-one"), (["git"], "git-one")):
        url = "http://admin:demo-password@127.0.0.1:%d/%s" % (port, name)
        run(*tool, "clone", url, name, cwd=work)
        copy = work / name
        (copy / "pushed").write_text(str(work))
        run(*tool, "add", "pushed", cwd=copy)
        run(*tool, "commit", "-m", "Pushed", *(["-u", "Ann"] if name == "hg-one" else []), cwd=copy)
        run(*tool, "push", url, *(["master"] if name == "git-one" else []), cwd=copy)


def test_kallithea_takes_pushes_after_the_switch_and_after_going_back(
    target: str, instance: Path, migrate: Any, tmp_path: Path
) -> None:
    server = Kallithea(instance)
    users, repositories, logs = map(int, asked_of_models(instance)[:3])
    done = migrate(instance, target, "--switch")
    assert done.returncode == 0, done.stderr
    assert target.partition("?")[0] in instance.read_text()
    try:
        server.start()
        push(server.port, tmp_path / "work")
        server.stop()
        # A clone each, and a push each; git asks for more.
        there = asked_of_models(instance)
        assert [int(number) for number in there[:2]] == [users, repositories]
        assert int(there[2]) >= logs + 4
        assert there[3:] == ["git-one:push", "hg-one:push"] or "git-one:push" in there[3:]
        (back,) = [
            line.split() for line in done.stderr.splitlines() if line.strip().startswith("cp -p ")
        ]
        subprocess.run(back, check=True)
        assert asked_of_models(instance)[:3] == [str(users), str(repositories), str(logs)]
        server.start()
        push(server.port, tmp_path / "again")
    finally:
        server.remove()
    assert "git-one:push" in asked_of_models(instance)[3:]
