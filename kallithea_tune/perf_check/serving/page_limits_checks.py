"""The options that keep one page, or one feed, from showing more than there is time for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Optional

from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import app_options
from kallithea_tune.text import megabytes

SOURCE = "Kallithea 0.7.0: its ini template, and what it did with other values"
# Of Kallithea's ini template.
CUT_OFF, FEED_CUT_OFF, FEED_ENTRIES = 256_000, 256_000, 10
# A diff of 6.7 MB took 3.2 s and made a page of 54.7 MB: two million bytes take a second.
MOST_BYTES = 2_000_000
# An entry took 30 ms where the changesets are small: 100 of them take three seconds.
MOST_ENTRIES = 100


@dataclass(frozen=True)
class Limit:
    """An option, the value of the ini template, and what is said of another one."""

    name: str
    value: str
    judge: Callable[[Optional[str]], Optional[tuple[Severity, str]]]


@check(
    "WEB015",
    "serving-page-limits",
    "Limits of diffs, files and feeds",
    measures=(configuration,),
    threshold=f"from 1 to {MOST_BYTES} bytes, {MOST_ENTRIES} entries",
    source=SOURCE,
    harm=Harm.some_pages,
)
def page_limits(configured: Configuration) -> Iterator[Finding]:
    """Judge the limits that are missing, no limits, or so high that they are none."""
    instance = configured.instance
    findings = list(limits_of(instance.settings, instance))
    yield from findings
    if not findings:
        yield Finding(Severity.ok, "diffs, files and feeds have limits", evidence=_seen(instance))


def limits_of(settings: Mapping[str, str], instance: Instance) -> Iterator[Finding]:
    """Yield a finding for each option whose value does not protect a page."""
    for limit in LIMITS:
        judged = limit.judge(settings.get(limit.name))
        if judged:
            severity, diagnosis = judged
            yield Finding(
                severity,
                diagnosis,
                subject=limit.name,
                evidence={limit.name: settings.get(limit.name, "none")},
                remedy=app_options(instance.section, {limit.name: limit.value}),
            )


def judge_cut_off(value: Optional[str]) -> Optional[tuple[Severity, str]]:
    """There is no default, and the size of each file that is viewed is compared with the number."""
    number = _number(value)
    if number is None:
        state = "is missing" if value is None else f"= {value} is not a number"
        return Severity.error, f"cut_off_limit {state}: files cannot be viewed, no diff is cut"
    if number == 0:
        return Severity.warning, "cut_off_limit = 0: no diff is cut, and no file is shown"
    if number < 0:
        return Severity.warning, f"cut_off_limit = {number}: no diff and no file is shown"
    if number > MOST_BYTES:
        return Severity.advice, f"cut_off_limit lets a page show {megabytes(number)} of diff"
    return None


def judge_entries(value: Optional[str]) -> Optional[tuple[Severity, str]]:
    """The feed takes so many changesets from the end of the list, all of it with 0."""
    number = 20 if value is None else _number(value)
    if number is None:
        return Severity.error, f"rss_items_per_page = {value} is not a number: feeds fail with 500"
    if number <= 0:
        what = "all changesets" if number == 0 else "all but the first changesets"
        return Severity.warning, f"rss_items_per_page = {number}: each feed has {what}"
    if number > MOST_ENTRIES:
        return Severity.advice, f"a feed has {number:,} entries, each with a diff to generate"
    return None


def judge_feed_cut_off(value: Optional[str]) -> Optional[tuple[Severity, str]]:
    """A number of 0, or none, is no limit."""
    number = FEED_CUT_OFF if value is None else _number(value)
    if not number:
        return Severity.warning, f"rss_cut_off_limit = {value}: feeds read diffs of any size"
    if number > MOST_BYTES:
        return Severity.advice, f"rss_cut_off_limit lets a feed read {megabytes(number)} of diff"
    return None


def judge_include(value: Optional[str]) -> Optional[tuple[Severity, str]]:
    """The diffs that feeds include are not cut by any limit."""
    if as_bool(value or ""):
        return (
            Severity.advice,
            "rss_include_diff: feeds have diffs of any size, whatever the limits",
        )
    return None


LIMITS = (
    Limit("cut_off_limit", str(CUT_OFF), judge_cut_off),
    Limit("rss_items_per_page", str(FEED_ENTRIES), judge_entries),
    Limit("rss_cut_off_limit", str(FEED_CUT_OFF), judge_feed_cut_off),
    Limit("rss_include_diff", "false", judge_include),
)


def _number(value: Optional[str]) -> Optional[int]:
    try:
        return int(value or "")
    except ValueError:
        return None


def _seen(instance: Instance) -> Mapping[str, object]:
    settings = instance.settings
    return {limit.name: settings[limit.name] for limit in LIMITS if limit.name in settings}
