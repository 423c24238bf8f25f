"""Files that others may change: judged by tables, found on a real instance, and closed again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.storage.exposed import Exposed, Exposure, Place, Risk, survey
from kallithea_tune.perf_check.storage.exposed_checks import exposed, judge_places, judge_readable

SESSIONS = Exposed(Place("sessions", "/srv/sessions", Risk.code, below=True), "kallithea", 9)
INI = Exposed(Place("ini file", "/srv/my.ini", Risk.code), "kallithea", 1)
FIND = "find /srv/sessions '!' -type l -perm"


@pytest.mark.parametrize(
    "changes, severity, said, remedy",
    [
        ([{}, {}], Severity.ok, "no other user", ""),
        ([{"count": 2}, {}], Severity.error, "run code", f"{FIND} /o=w -exec chmod o-w '{{}}' +"),
        ([{"count": 2, "group": True}, {}], Severity.error, "sessions", "chmod g-w,o-w '{}' +"),
        ([{}, {"count": 1, "outer": ("/srv/my.ini",)}], Severity.error, "ini file", "/srv/my.ini"),
        ([{}, {"count": 1, "outer": ("/tmp",)}], Severity.error, "ini file", "out of /tmp"),
        ([{"count": 2, "reachable": False}, {}], Severity.advice, "if they reached", "chmod"),
    ],
)
def test_places_are_judged_together(
    changes: Sequence[Mapping[str, Any]], severity: Severity, said: str, remedy: str
) -> None:
    places = [replace(place, **change) for place, change in zip((SESSIONS, INI), changes)]
    found = judge_places(Risk.code, places)
    assert (found.severity, said in found.diagnosis) == (severity, True), found
    assert remedy in str(found.remedy)


@pytest.mark.parametrize(
    "readable, passwords, severity",
    [
        (True, (), Severity.ok),
        (False, ("sqlalchemy.url",), Severity.ok),
        (True, ("sqlalchemy.url",), Severity.advice),
    ],
)
def test_passwords_that_everybody_reads(
    readable: bool, passwords: tuple[str, ...], severity: Severity
) -> None:
    measured = Exposure((), "/srv/my.ini", "kallithea", readable, passwords)
    assert judge_readable(measured).severity is severity


@pytest.fixture
def reachable(pristine: Path) -> Iterator[Path]:
    """The ini file of a copy of the real instance that every user of this host can get to."""
    place = Path(tempfile.mkdtemp(prefix="kallithea-tune-"))
    place.chmod(0o755)
    directory = place / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    connection = sqlite3.connect(str(directory / "kallithea.db"))
    connection.execute("UPDATE ui SET ui_value = ? WHERE ui_key = '/'", [str(directory / "repos")])
    connection.commit()
    connection.close()
    try:
        yield directory / "my.ini"
    finally:
        shutil.rmtree(str(place))


def bad(ini: Path) -> dict[str, Finding]:
    found = list(exposed.findings(Context(load(str(ini)), Deadline(60))))
    assert len(found) == 3
    return {item.subject: item for item in found if item.severity is not Severity.ok}


def test_a_healthy_instance_is_closed(reachable: Path) -> None:
    assert bad(reachable) == {}


def open_to_all(*paths: Path) -> None:
    for path in paths:
        path.chmod(path.stat().st_mode | 0o002)


def plant(here: Path) -> list[Path]:
    """Open a file or directory of each kind; return the places that are to be found."""
    for name in ("cache", "sessions"):
        inner = here / "data" / name / "container_file" / "0"
        inner.mkdir(parents=True)
        (inner / "0.cache").write_bytes(b"")
        open_to_all(inner.parent, inner, inner / "0.cache")
    (here / "extensions.py").write_text("")
    (here / "repos" / "hg-one" / ".hg" / "hgrc").touch()
    inside = (here / "repos" / "hg-one" / ".hg" / "hgrc", here / "extensions.py", here / "my.ini")
    open_to_all(*inside, here / "kallithea.db", here / "repos" / "git-one" / "hooks")
    code = ["repos", "data/sessions", "data/cache", "my.ini", "extensions.py"]
    return [here / name for name in code]


def test_what_others_may_change_is_found_and_closed(reachable: Path) -> None:
    planted = plant(reachable.parent)
    found = bad(reachable)
    assert {item.severity for item in found.values()} == {Severity.error}
    places = found["code"].evidence["in"]
    assert isinstance(places, list) and set(places) == set(map(str, planted))
    assert found["code"].evidence["writable"] == 3 + 3 + 2 + 1 + 1
    assert "database" in found["data"].diagnosis
    for item in found.values():
        carry_out(item.remedy, reachable)
    assert bad(reachable) == {}


def test_a_directory_in_which_others_may_replace_the_ini_file(reachable: Path) -> None:
    open_to_all(reachable.parents[1])
    found = bad(reachable)["code"]
    assert found.severity is Severity.error and "ini file" in found.diagnosis
    for item in bad(reachable).values():
        carry_out(item.remedy, reachable)
    assert bad(reachable) == {}


def test_what_there_was_no_time_for_is_unknown(pristine: Path) -> None:
    places = [Place("repositories", str(pristine / "repos"), Risk.code), INI.place]
    found = survey(places, str(pristine / "my.ini"), [], within=-1.0)
    assert not found.examined.complete


def test_behind_a_closed_directory_it_is_advice(reachable: Path) -> None:
    open_to_all(reachable)
    reachable.parents[1].chmod(0o700)
    assert bad(reachable)["code"].severity is Severity.advice


def test_a_password_that_everybody_reads_is_closed(
    reachable: Path, edit: Callable[..., None]
) -> None:
    os.chmod(str(reachable), 0o644)
    edit(reachable, "\nsmtp_password =", "\nsmtp_password = s3cr3t-of-mail")
    found = bad(reachable)["passwords"]
    assert found.severity is Severity.advice and "smtp_password" in found.diagnosis
    carry_out(found.remedy, reachable)
    assert bad(reachable) == {}
