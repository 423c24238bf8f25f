"""Makes a small but real Kallithea: ini, database with users, groups, repositories and log rows, hg
and git history.

usage: make_instance.py DIRECTORY [LOG_ROWS]

Run by the Python of the virtual environment that holds Kallithea. A complete instance is left
alone, one that an interrupted run left behind is made again, and any other directory is refused.
"""

from __future__ import annotations

import datetime
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
ENVIRONMENT = dict(
    os.environ,
    LC_ALL="C.UTF-8",
    HGRCPATH="",
    GIT_CONFIG_GLOBAL=os.devnull,
    GIT_CONFIG_SYSTEM=os.devnull,
    GIT_AUTHOR_NAME="Demo",
    GIT_AUTHOR_EMAIL="demo@example.com",
    GIT_COMMITTER_NAME="Demo",
    GIT_COMMITTER_EMAIL="demo@example.com",
    PATH="{}{}{}".format(BIN, os.pathsep, os.environ.get("PATH", "")),
)
README = "Demo\n====\n\n" + "Some *text* with `links <https://example.com>`_ to render.\n\n" * 20
# What a Kallithea writes after its database was copied.
WRITTEN_MEANWHILE = """
UPDATE users SET firstname = 'Anne' WHERE user_id = 3;
DELETE FROM user_logs WHERE user_log_id IN (2001, 2002, 2003);
INSERT INTO user_logs (user_id, username, repository_name, user_ip, action, action_date)
    SELECT user_id, username, repository_name, user_ip, action, action_date
    FROM user_logs LIMIT 200;
"""


def run(*command: object, cwd: Path) -> None:
    """Run a command quietly; its whole output is shown only when it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, cwd=str(cwd), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode:
        sys.exit(
            "{} failed:\n{}".format(
                " ".join(map(str, command)), result.stdout.decode("utf-8", "replace")
            )
        )


def make_hg(path: Path, commits: int) -> None:
    """Create a Mercurial repository with `commits` commits."""
    path.mkdir(parents=True)
    run(BIN / "hg", "init", cwd=path)
    for number in range(commits):
        write_change(path, number)
        run(
            BIN / "hg",
            "commit",
            "-A",
            "-q",
            "-m",
            "Change %d" % number,
            "-u",
            "Demo <demo@example.com>",
            cwd=path,
        )


def make_git(path: Path, commits: int) -> None:
    """Create a bare Git repository with `commits` commits."""
    work = path.with_name(path.name + ".work")
    work.mkdir(parents=True)
    run("git", "init", "-q", "-b", "master", cwd=work)
    for number in range(commits):
        write_change(work, number)
        run("git", "add", ".", cwd=work)
        run("git", "commit", "-q", "-m", "Change %d" % number, cwd=work)
    run("git", "clone", "-q", "--bare", work, path, cwd=work.parent)
    shutil.rmtree(str(work))


def write_change(path: Path, number: int) -> None:
    """Write the files of commit `number`."""
    (path / "README.rst").write_text(README + "Revision %d\n" % number)
    (path / ("module_%d.py" % ((number % 7,)))).write_text("value = %d\n" % number * 20)


def make(directory: Path, log_rows: int = 3000, front_end: bool = True) -> Path:
    """Create the instance in `directory` and return its ini file."""
    ini = directory / "my.ini"
    if (directory / ".complete").exists():
        return ini
    begun = directory / ".begun"
    if begun.exists():
        shutil.rmtree(str(directory))
    elif directory.exists() and os.listdir(str(directory)):
        sys.exit(f"{directory} has other files in it; give a new directory")
    repositories = directory / "repos"
    directory.mkdir(parents=True, exist_ok=True)
    begun.touch()
    repositories.mkdir()
    kallithea = BIN / "kallithea-cli"
    run(kallithea, "config-create", "my.ini", cwd=directory)
    run(
        kallithea,
        "db-create",
        "-c",
        ini,
        "--user=admin",
        "--password=demo-password",
        "--email=admin@example.com",
        f"--repos={repositories}",
        "--force-yes",
        cwd=directory,
    )
    for name in ("hg-one", "hg-two"):
        make_hg(repositories / name, 12)
    for name in ("git-one", "git-two"):
        make_git(repositories / name, 12)
    run(kallithea, "repo-scan", "-c", ini, cwd=directory)
    run(sys.executable, Path(__file__).resolve(), "--fill", ini, log_rows, cwd=directory)
    if front_end:
        build_front_end(kallithea, directory)
    begun.rename(directory / ".complete")
    return ini


def build_front_end(kallithea: Path, directory: Path) -> None:
    """Build the front-end where npm is; say plainly when it was not built."""
    if not shutil.which("npm"):
        print("The front-end is not built, since npm is not installed: pages come without style.")
        return
    print("Building the front-end ...")
    result = subprocess.run(
        [str(kallithea), "front-end-build"],
        cwd=str(directory),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode:
        last = result.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
        print("The front-end is not built: npm failed ({}).".format(" ".join(last)))


def fill(ini: Path, log_rows: int) -> None:
    """Add users, groups and log rows through Kallithea's own models."""
    from paste.deploy import loadapp

    loadapp(f"config:{ini}")
    from kallithea.model import db, meta
    from kallithea.model.user import UserModel
    from kallithea.model.user_group import UserGroupModel

    users = [
        UserModel().create_or_update(name, "demo-password", name + "@example.com", "User", name)
        for name in map("user{}".format, range(5))
    ]
    group = UserGroupModel().create("developers", "Those who push", users[0])
    meta.Session().flush()
    for user in users:
        UserGroupModel().add_user_to_group(group, user)
    repositories = db.Repository.query().all()
    chance, now = random.Random(7), datetime.datetime.now()
    meta.Session().bulk_insert_mappings(
        db.UserLog,
        [
            {
                "user_id": user.user_id,
                "username": user.username,
                "repository_id": repository.repo_id,
                "repository_name": repository.repo_name,
                "user_ip": "127.0.0.1",
                "action": chance.choice(
                    ["pull", f"push:{chance.getrandbits(160):040x}", "started_following_repo"]
                ),
                "action_date": now - datetime.timedelta(minutes=(log_rows - number) * 7),
            }
            for number in range(log_rows)
            for user, repository in [(chance.choice(users), chance.choice(repositories))]
        ],
    )
    meta.Session().commit()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        made = make(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 3000)
        print(f"The instance: {os.path.relpath(str(made))} (user admin, password demo-password)")
