"""Options that nothing reads, on Kallithea's real ini file."""

from __future__ import annotations

import json

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving import option_names_checks


def found(gearbox, ini):
    said = gearbox("perf-check", "-c", ini, "--only", "CFG004", "-f", "json", cwd=str(ini.parent))
    return json.loads(said.stdout)


def test_the_template_as_it_comes_holds_nothing_unread(gearbox, instance):
    assert [item["severity"] for item in found(gearbox, instance)] == ["ok"]


def test_slips_and_leftovers_are_told_apart_from_options_of_turbogears(gearbox, instance, edit):
    edit(
        instance,
        "\nuse = egg:kallithea\n",
        "\nuse = egg:kallithea\ncache_dirr = x\nfrobnicate_level = 3\n"
        "serve_static = true\nissue_pat_wiki = (x)\ncelery.task_time_limit = 5\n",
    )
    seen = {
        item["subject"]: (item["severity"], item["evidence"]["similar"])
        for item in found(gearbox, instance)
    }
    assert seen == {"cache_dirr": ("warning", "cache_dir"), "frobnicate_level": ("advice", "none")}


def test_families_of_dotted_names_are_known_by_their_head():
    template = frozenset({"celery.broker_url", "cache_dir", "issue_pat"})
    assert option_names_checks.unfamiliar(
        ["celery.x", "cache_dir", "issue_pat_x", "set odd", "beaker.x"], template
    ) == ["beaker.x", "odd"]


def test_nothing_unread_is_ok():
    assert [item.severity for item in option_names_checks.judge_unread({})] == [Severity.ok]
