"""Options that nothing reads, in Kallithea's real ini file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable, Mapping, Sequence

from carry_out import carry_out

from kallithea_tune.app.visit import Request, visit
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving.option_names import UnreadOptions, unfamiliar
from kallithea_tune.perf_check.serving.option_names_checks import unread

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]


def findings(gearbox: Gearbox, ini: Path) -> Sequence[Mapping[str, object]]:
    result = gearbox("perf-check", "-c", ini, "--only", "CFG004", "-f", "json", cwd=str(ini.parent))
    items: Sequence[Mapping[str, object]] = json.loads(result.stdout)
    return items


def test_the_template_as_it_comes_holds_nothing_unread(gearbox: Gearbox, instance: Path) -> None:
    assert [item["severity"] for item in findings(gearbox, instance)] == ["ok"]


def test_slips_and_leftovers_are_told_apart_from_options_of_turbogears(
    gearbox: Gearbox, instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(
        instance,
        "\nuse = egg:kallithea\n",
        "\nuse = egg:kallithea\ncache_dirr = x\nfrobnicate_level = 3\n"
        "serve_static = true\nissue_pat_wiki = (x)\ncelery.task_time_limit = 5\n",
    )
    seen = {
        item["subject"]: (item["severity"], item["evidence"])
        for item in findings(gearbox, instance)
    }
    assert seen == {
        "cache_dirr": ("warning", {"similar": "cache_dir"}),
        "frobnicate_level": ("advice", {"similar": "none"}),
    }


def test_families_of_dotted_names_are_known_by_their_head() -> None:
    template = frozenset({"celery.broker_url", "cache_dir", "issue_pat"})
    assert unfamiliar(
        ["celery.x", "cache_dir", "issue_pat_x", "set odd", "beaker.x"], template
    ) == [
        "beaker.x",
        "set odd",
    ]


def test_nothing_unread_is_ok() -> None:
    findings = unread.judge(UnreadOptions((), 1))
    assert [item.severity for item in findings] == [Severity.ok]


def renamed(wrong: str, right: str, section: str = "app:main") -> str:
    return f"remove {wrong}, set {right} in [{section}]"


def test_misspellings_in_families_are_found_with_the_right_name(
    gearbox: Gearbox, instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "beaker.cache.long_term.expire = ", "beaker.cache.long_term.exipre = ")
    edit(instance, "session.timeout = ", "session.timout = ")
    edit(instance, "celery.worker_concurrency = ", "celery.worker_concurency = ")
    edit(
        instance,
        "\nuse = egg:kallithea\n",
        "\nuse = egg:kallithea\nbeaker.cache.frobnicate.expire = 3\nsession.sa.url = x\n",
    )
    edit(instance, "\nthreads = ", "\nchannel_timeot = 9\nthreads = ")
    seen = {item["subject"]: item["remedy"] for item in findings(gearbox, instance)}
    assert seen == {
        "beaker.cache.long_term.exipre": renamed(
            "beaker.cache.long_term.exipre", "beaker.cache.long_term.expire = 36000"
        ),
        "session.timout": renamed("session.timout", "session.timeout = 2592000"),
        "celery.worker_concurency": renamed(
            "celery.worker_concurency", "celery.worker_concurrency = 2"
        ),
        "beaker.cache.frobnicate.expire": (
            "unless you find out what it was meant to do: "
            "remove beaker.cache.frobnicate.expire in [app:main]"
        ),
        "channel_timeot": renamed("channel_timeot", "channel_timeout = 9", "server:main"),
    }


def test_no_remedy_doubles_an_option(
    gearbox: Gearbox, instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(
        instance,
        "\nuse = egg:kallithea\n",
        "\nuse = egg:kallithea\ncache_dirr = x\nsession.timout = 5\n",
    )
    seen = {item["subject"]: item["remedy"] for item in findings(gearbox, instance)}
    assert seen == {
        "cache_dirr": "cache_dir is set as well: remove cache_dirr in [app:main]",
        "session.timout": "session.timeout is set as well: remove session.timout in [app:main]",
    }


def test_the_remedies_leave_an_application_that_loads_and_nothing_unread(
    gearbox: Gearbox, instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "static_files = true\n", "static_files = true\nstatic_filse = false\n")
    edit(instance, "session.timeout = ", "set session.timout = ")
    edit(instance, "\nthreads = ", "\nchannel_timeot = 9\n    \nthreads = ")
    found = list(unread.findings(Context(load(str(instance)), Deadline(60))))
    assert [item.subject for item in found] == ["session.timout", "channel_timeot", "static_filse"]
    for finding in found:
        carry_out(finding.remedy, instance)
    assert [item["severity"] for item in findings(gearbox, instance)] == ["ok"]
    changed = load(str(instance))
    assert changed.settings["static_files"] == "true"
    assert changed.sections["app:main"]["set session.timeout"] == "2592000"
    assert visit(changed, [Request("/")], 30).answers[0].status == 200
