"""The options that limit pages: judged by tables, and carried out on the real application."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional

import pytest
from carry_out import carry_out

from kallithea_tune.app.visit import Request, visit
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.config.redact import Redactor
from kallithea_tune.perf_check.measurement import Configuration, Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import IniEdit
from kallithea_tune.perf_check.serving.page_limits_checks import page_limits

Edit = Callable[[Path, str, str], None]
EMPTY = Instance("my.ini", "main", "app:main", "egg:kallithea", {}, {}, {}, Redactor())
ERROR, WARNING, ADVICE, OK = Severity.error, Severity.warning, Severity.advice, Severity.ok


@pytest.mark.parametrize(
    "name, value, severity, words",
    [
        ("cut_off_limit", None, ERROR, "is missing: files cannot be viewed"),
        ("cut_off_limit", "250k", ERROR, "= 250k is not a number"),
        ("cut_off_limit", "0", WARNING, "no file is shown"),
        ("cut_off_limit", "-1", WARNING, "no diff and no file"),
        ("cut_off_limit", "2000000", OK, ""),
        ("cut_off_limit", "2000001", ADVICE, "show 2 MB of diff"),
        ("rss_items_per_page", None, OK, ""),
        ("rss_items_per_page", "ten", ERROR, "feeds fail with 500"),
        ("rss_items_per_page", "0", WARNING, "each feed has all changesets"),
        ("rss_items_per_page", "100", OK, ""),
        ("rss_items_per_page", "1000", ADVICE, "1,000 entries"),
        ("rss_cut_off_limit", None, OK, ""),
        ("rss_cut_off_limit", "0", WARNING, "diffs of any size"),
        ("rss_cut_off_limit", "9000000", ADVICE, "9 MB of diff"),
        ("rss_include_diff", "true", ADVICE, "diffs of any size"),
        ("rss_include_diff", "false", OK, ""),
    ],
)
def test_values(name: str, value: Optional[str], severity: Severity, words: str) -> None:
    settings = {"cut_off_limit": "256000"}
    settings.update({name: value} if value is not None else {})
    if value is None:
        settings.pop(name, None)
    (finding,) = judged(settings)
    assert finding.severity is severity and (words in finding.diagnosis or not words)
    if severity is not OK:
        assert isinstance(finding.remedy, IniEdit)
        (option,) = finding.remedy.options
        assert option.section == "app:main" and option.name == name


def judged(settings: "dict[str, str]") -> "list[Finding]":
    instance = replace(EMPTY, settings=settings)
    return list(page_limits.judge(Configuration(instance)))


def test_without_a_limit_files_cannot_be_viewed_and_the_remedy_helps(
    instance: Path, edit: Edit
) -> None:
    edit(instance, "\ncut_off_limit = 256000\n", "\n")
    edit(instance, "rss_items_per_page = 10", "rss_items_per_page = ten")
    assert statuses(instance) == [500, 500]
    for finding in found(instance):
        assert finding.severity is ERROR
        carry_out(finding.remedy, instance)
    assert [finding.severity for finding in found(instance)] == [OK]
    assert statuses(instance) == [200, 200]


def found(ini: Path) -> "list[Finding]":
    return list(page_limits.findings(Context(load(str(ini)), Deadline(60))))


def statuses(ini: Path) -> "list[int]":
    pages = [Request("/hg-one/files/tip/README.rst"), Request("/hg-one/feed/atom")]
    return [answer.status for answer in visit(load(str(ini)), pages, 30).answers]
