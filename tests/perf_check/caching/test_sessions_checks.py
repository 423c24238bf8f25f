"""Sessions that a user loses with the process or the instance that made them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.caching import sessions_checks
from kallithea_tune.perf_check.caching.regions import Backend
from kallithea_tune.perf_check.caching.sessions import MOST_SIBLINGS, Sessions, sessions
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.servers.processes import Worker
from kallithea_tune.perf_check.servers.served import Served, Servers
from kallithea_tune.system.processes import Process


@pytest.mark.parametrize(
    "kind, known, processes, severity",
    [
        ("file", True, 4, Severity.ok),
        ("dbm", True, None, Severity.ok),
        ("cookie", True, 4, Severity.ok),
        ("ext:database", True, 4, Severity.ok),
        ("memory", True, 1, Severity.advice),
        ("memory", True, 2, Severity.error),
        ("memory", True, None, Severity.error),
        ("files", False, 1, Severity.error),
    ],
)
def test_a_store_is_judged_by_who_sees_it(
    kind: str, known: bool, processes: Optional[int], severity: Severity
) -> None:
    found = sessions_checks.judge_store(kind, known, processes, "app:main")
    assert found.severity is severity and bool(found.remedy) == (severity > Severity.ok)


def test_processes_that_run_count_rather_than_the_ini_file() -> None:
    store = Sessions("memory", "app:main", Backend(frozenset()), None, ())
    one = Server("waitress", "[server:main]", processes=1)
    workers = tuple(Worker(Process(pid, 1, ("gunicorn",))) for pid in (7, 8, 9))
    for served, severity in (
        (Served(one), Severity.advice),
        (Served(one, workers), Severity.error),
    ):
        (found,) = sessions_checks.visibility.judge(store, Servers((served,)))
        assert found.severity is severity


@pytest.mark.parametrize(
    "differing, remedy",
    [
        ([], ""),
        (["data_dir"], "set session.data_dir = /s in both files"),
        (["secret"], "set session.secret to the same value in both files"),
        (["type", "data_dir"], "set session.data_dir = /s in both files"),
    ],
)
def test_a_sibling_is_judged_by_what_differs(differing: Sequence[str], remedy: str) -> None:
    found = sessions_checks.judge_sibling("two.ini", differing, "/s")
    assert found.remedy == remedy and (found.severity is Severity.ok) == (not differing)


def findings(gearbox: Callable[..., Any], ini: Path) -> dict[str, Mapping[str, Any]]:
    said = gearbox("perf-check", "-c", ini, "--only", "CAC005", "-f", "json", cwd=str(ini.parent))
    assert said.returncode in (0, 1), said.stderr
    return {item["subject"]: item for item in json.loads(said.stdout)}


def test_a_second_ini_file_for_the_same_database_is_compared(
    instance: Path, gearbox: Callable[..., Any], edit: Callable[..., None]
) -> None:
    for name in ("same", "apart", "other", "broken"):
        shutil.copy(str(instance), str(instance.with_name(name + ".ini")))
    edit(instance.with_name("apart.ini"), "cache_dir = %(here)s/data", "cache_dir = %(here)s/data2")
    edit(instance.with_name("apart.ini"), "session.secret = ", "session.secret = other-")
    edit(instance.with_name("other.ini"), "kallithea.db", "another.db")
    instance.with_name("broken.ini").write_text("not an ini file")
    found = findings(gearbox, instance)
    assert {name: item["severity"] for name, item in found.items()} == {
        "": "ok",
        "same.ini": "ok",
        "apart.ini": "warning",
    }
    assert found["apart.ini"]["evidence"]["differing"] == ["data_dir", "secret"]
    assert "other-" not in json.dumps(found)


@pytest.mark.parametrize(
    "kind, severity", [("memory", "advice"), ("nonsense", "error"), ("ext:google", "error")]
)
def test_the_type_of_the_ini_file_is_judged(
    instance: Path, gearbox: Callable[..., Any], edit: Callable[..., None], kind: str, severity: str
) -> None:
    edit(instance, "session.key = ", f"session.type = {kind}\nsession.key = ")
    assert findings(gearbox, instance)[""]["severity"] == severity


def test_a_large_ini_file_beside_is_not_parsed_but_counted_where_it_may_matter(
    tmp_path: Path,
) -> None:
    own = tmp_path / "my.ini"
    own.write_text("[app:main]\nuse = egg:kallithea\nsqlalchemy.url = sqlite:///k.db\n")
    large = "# a line\n" * 100_000
    (tmp_path / "large.ini").write_text(large + own.read_text())
    (tmp_path / "derived.ini").write_text(large + "[app:main]\nuse = config:my.ini\n")
    (tmp_path / "foreign.ini").write_text("[client]\n" + large)
    (tmp_path / "nowhere.ini").symlink_to("gone")
    for number in range(MOST_SIBLINGS + 3):
        (tmp_path / f"{number}.ini").write_text(own.read_text())
    measured = Context(load(str(own)), Deadline(9)).measure(sessions)
    assert (len(measured.siblings), measured.unread) == (MOST_SIBLINGS, 5)
    assert measured.examined == Examined(MOST_SIBLINGS + 1, MOST_SIBLINGS + 6, "ini file")
