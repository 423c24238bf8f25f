"""Root opens data of another user as that user: what only root may read reaches no output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import beaker_tools
import pytest
from owned import GROUP, NOBODY, SECRET, UNKNOWN, Owned

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.model import all_checks

# What an application in a child does with what it is told to be; Python code may write nowhere.
EXTENSION = """
import os, subprocess
regained = ["nothing"]
for change in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setresuid(0, 0, 0)):
    try:
        change()
        regained.append("root")
    except PermissionError:
        pass
subprocess.run('echo "application: $(id -u) $(id -g) $(id -G), %s %s, %s" >> {}' % (
    os.getresuid(), os.getresgid(), regained[-1]), shell=True)
"""
GIT = '#!/bin/sh\necho "git: $(id -u) $(id -g) $(id -G)" >> {}\nexec {} "$@"\n'


def plant_links(owned: Owned) -> None:
    """Put links to what only root may read in place of files that are read, and shown in part."""
    repos, secret = owned.directory / "repos", str(owned.secret)
    for name in (
        "git-one/objects/info/alternates",
        "git-two/HEAD",
        "hg-one/.hg/requires",
        "hg-two/.hg/hgrc",
    ):
        (repos / name).exists() and (repos / name).unlink()
        os.symlink(secret, str(repos / name))
    settings = load(str(owned.ini)).settings
    region = beaker_config.regions(settings)["long_term_file"]
    cache = Path(beaker_tools.use_of("readme").file(region["data_dir"]))
    sessions = Path(settings["cache_dir"], "sessions", "container_file", "a", "ab")
    index = Path(settings["index_dir"])
    for path in (cache, sessions / "abc.cache", index / "make_index.lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(secret, str(path))


def findings(text: str) -> "list[dict[str, Any]]":
    found: "list[dict[str, Any]]" = json.loads(text)
    return found


@pytest.mark.alone  # The survey of the repositories has two seconds.
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_what_only_root_may_read_reaches_no_output(owned: Owned, uid: int) -> None:
    plant_links(owned)
    owned.give_to(uid, uid)
    areas = ["--only=repositories", "--only=caching", "--skip=CAC002"]
    said = owned.gearbox("perf-check", "-c", owned.ini, "-f", "json", *areas)
    assert SECRET not in said.stdout + said.stderr
    assert said.returncode == 5, said.stdout + said.stderr
    unknown = {
        (item["check"], item["subject"], item["diagnosis"])
        for item in findings(said.stdout)
        if item["severity"] == "unknown"
    }
    cache = next(subject for check, subject, _ in unknown if check == "CAC001")
    lock = f"in {owned.directory}/data/index, make_index.lock is a link, which is not followed"
    assert unknown == {
        (
            "REPO003",
            "git-one",
            "not measured: objects/info/alternates is a link, which is not followed",
        ),
        ("REPO003", "git-two", "not measured: HEAD is a link, which is not followed"),
        ("REPO003", "hg-one", "not measured: .hg/requires is a link, which is not followed"),
        ("REPO003", "hg-two", "not measured: .hg/hgrc is a link, which is not followed"),
        ("CAC001", cache, f"not measured: the cache file {cache} is a link"),
        ("IDX001", "", f"not measured: {lock}"),
        ("IDX002", "", f"not measured: {lock}"),
        ("CAC006", "", "not measured: the namespace file was not examined"),
        ("REPO007", "", "not measured: none of 4 repositories was examined"),
        ("REPO008", "", "not measured: none of 4 repositories was examined"),
    }


@pytest.mark.parametrize(
    ("uid", "gid", "name", "groups"),
    [
        (NOBODY, NOBODY, "nobody", f"{NOBODY} {GROUP}"),
        # A user that is in no file gets the group of its data, but never that of root.
        (UNKNOWN, 54322, str(UNKNOWN), "54322"),
        (UNKNOWN, 0, str(UNKNOWN), str(UNKNOWN)),
    ],
)
def test_git_and_the_application_run_as_the_owner(
    owned: Owned, uid: int, gid: int, name: str, groups: str
) -> None:
    record, programs = owned.place / "record", owned.place / "programs"
    record.touch()
    record.chmod(0o666)
    programs.mkdir(mode=0o755)
    (programs / "git").write_text(GIT.format(record, shutil.which("git")))
    (programs / "git").chmod(0o755)
    (owned.directory / "extensions.py").write_text(EXTENSION.format(record))
    owned.give_to(uid, gid)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    said = owned.gearbox(
        *("perf-check", "-c", owned.ini, "--only=GIT001", "--only=GIT003", "--only=WEB008", "-a"),
        variables={"PATH": path},
    )
    database = owned.directory / "kallithea.db"
    assert f"Note: Measured as {name} (owner of {database}), not as root." in " ".join(
        said.stdout.split()
    )
    lines = set(record.read_text().splitlines())
    group = groups.split()[0]
    application = f"application: {uid} {group} {groups}"
    ids = f"({uid}, {uid}, {uid}) ({group}, {group}, {group})"
    assert lines == {f"git: {uid} {group} {groups}", f"{application}, {ids}, nothing"}


@pytest.mark.alone  # What is found depends on the time there is.
def test_the_same_is_found_as_by_root(owned: Owned) -> None:
    words = [
        *("perf-check", "-c", owned.ini, "-f", "json"),
        *("--only=repositories", "--only=STO003", "--only=DB00[0-4]", "--only=WEB00[18]"),
    ]
    as_root = owned.gearbox(*words)
    owned.give_to(NOBODY, NOBODY)
    as_owner = owned.gearbox(*words)
    assert as_owner.stderr == as_root.stderr == ""
    # They are listed by their impact, and latencies judged, as measured in each run.
    timed = {check.id for check in all_checks() if check.disturbed_by}
    seen = [
        sorted(
            (item["check"], item["subject"], item["severity"])
            if item["check"] not in timed or item["severity"] == "unknown"
            else (item["check"], item["subject"], "measured")
            for item in findings(said.stdout)
        )
        for said in (as_root, as_owner)
    ]
    assert seen[0] == seen[1] and len(seen[0]) > 15


def test_a_sqlite_target_belongs_to_the_owner_and_no_link_is_followed(owned: Owned) -> None:
    target = owned.directory / "new.db"
    part = Path(f"{target}.kallithea-tune-part")
    part.symlink_to(owned.secret)
    owned.give_to(NOBODY, NOBODY)
    words = ("db-migrate", "-c", owned.ini, "--to", f"sqlite:///{target}", "--switch")
    refused = owned.gearbox(*words)
    assert refused.returncode in (2, 3) and f"{part} " in refused.stderr
    assert owned.secret.read_text() == SECRET + "\n" and not target.exists()
    part.unlink()
    said = owned.gearbox(*words)
    assert said.returncode == 0, said.stderr
    assert "Run as nobody (owner of " in said.stderr
    assert (target.stat().st_uid, target.stat().st_mode & 0o777) == (NOBODY, 0o600)
    # What the user who runs the command writes keeps its owner.
    assert "new.db" in owned.ini.read_text() and owned.ini.stat().st_uid == NOBODY


def decided(owned: Owned) -> "subprocess.CompletedProcess[str]":
    """What a command says that only has to decide as whom to run."""
    return owned.gearbox("perf-check", "-c", owned.ini, "--only=CFG001", "-a")


def test_data_of_several_users_is_refused(owned: Owned) -> None:
    owned.give_to(NOBODY, NOBODY)
    os.chown(str(owned.directory / "repos"), UNKNOWN, UNKNOWN)
    said = decided(owned)
    assert said.returncode == 3 and said.stdout == ""
    for part in ("belongs to several users", "kallithea.db to nobody, ", f"repos to {UNKNOWN}"):
        assert part in said.stderr


def test_what_belongs_to_root_does_not_count_beside_another_user(owned: Owned) -> None:
    owned.give_to(0, 0)
    os.chown(str(owned.directory / "repos"), NOBODY, NOBODY)
    said = decided(owned)
    assert f"Measured as nobody (owner of {owned.directory}/repos)" in " ".join(said.stdout.split())


def test_who_can_put_something_else_in_place_of_the_data_owns_it(owned: Owned) -> None:
    owned.give_to(0, 0)
    os.chown(str(owned.directory), NOBODY, NOBODY)
    said = decided(owned)
    assert f"Measured as nobody (owner of {owned.directory})" in " ".join(said.stdout.split())


def test_a_link_to_data_of_root_belongs_to_who_made_it(owned: Owned) -> None:
    owned.give_to(0, 0)
    cache, elsewhere = owned.directory / "data", owned.place / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(str(cache), ignore_errors=True)
    cache.symlink_to(elsewhere)
    os.chown(str(cache), NOBODY, NOBODY, follow_symlinks=False)
    said = decided(owned)
    assert "Measured as nobody" in said.stdout


def test_an_ini_file_that_the_owner_may_not_read_is_one_sentence(owned: Owned) -> None:
    owned.give_to(NOBODY, NOBODY)
    os.chown(str(owned.ini), 0, 0)
    owned.ini.chmod(0o600)
    said = decided(owned)
    assert said.returncode == 2 and said.stdout == ""
    assert said.stderr == (
        f"gearbox perf-check: {owned.ini} cannot be read by nobody, the owner of "
        f"{owned.directory}/kallithea.db, as whom root runs this command: Permission denied; let "
        "it read the file\n"
    )


# What Kallithea serves is the owner's decision: this has it serve a directory of root's, too.
SERVES_MORE = """
import tg.support.statics
before = tg.support.statics.StaticsMiddleware.__init__
def serve_more(self, app, root_dir, *arguments, **options):
    before(self, app, {!r}, *arguments, **options)
tg.support.statics.StaticsMiddleware.__init__ = serve_more
"""


def test_static_export_publishes_nothing_that_the_owner_may_not_read(owned: Owned) -> None:
    closed = owned.place / "closed"
    (closed / "css").mkdir(parents=True)
    (closed / "css" / "style.css").write_text(SECRET)
    (owned.directory / "extensions.py").write_text(SERVES_MORE.format(str(closed)))
    destination = owned.place / "published"
    (closed / "css" / "style.css").chmod(0o600)
    owned.give_to(NOBODY, NOBODY)
    said = owned.gearbox("static-export", "-c", owned.ini, destination)
    assert said.returncode == 2 and not destination.exists(), said.stdout + said.stderr
    path = closed / "css" / "style.css"
    assert f"{path} cannot be read: Permission denied" in said.stderr
