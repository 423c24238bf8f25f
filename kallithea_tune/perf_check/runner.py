"""Selects the checks, shares the time out, runs them and collects what they find."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured, TuneError, interrupted
from kallithea_tune.perf_check.measurement import Context, Deadline, Measurement
from kallithea_tune.perf_check.model import Check, Finding, Severity, all_checks

INI_SECTION = "kallithea_tune"
# Together, probes take less than half of what each may take (benchmarks/full_run.py), so each is
# given more than its part of the budget; one for which less than a fifth of its time is left is not
# run. Both are our judgement.
GENEROUS, TOO_LITTLE = 1.5, 0.2
# What ends with less than this of its time left was stopped by the deadline, as probes that look
# ahead are.
NEARLY = 0.25
_IGNORE = re.compile(
    r"^(?P<id>\S+)(?:\s+until\s+(?P<until>\d{4}-\d{2}-\d{2}))?\s*:\s*(?P<reason>\S.*)$"
)
_NO_TIME = Finding(Severity.unknown, "not measured: the budget left no time for it")


@dataclass(frozen=True)
class Ignore:
    """A finding that the admin accepts: which, why, and until when."""

    pattern: str
    reason: str
    until: "datetime.date | None" = None

    def covers(self, check: Check, today: datetime.date) -> bool:
        """Whether this line still silences findings of `check`."""
        return check.matches(self.pattern) and (self.until is None or today <= self.until)


@dataclass
class Report:
    """What one run found, in the order to be read, and how long it took."""

    findings: list[Finding]
    seconds: float
    notes: list[str] = field(default_factory=list)
    checks: tuple[str, ...] = ()

    def at_least(self, level: Severity) -> list[Finding]:
        """The findings that are not ignored and as bad as `level` or worse."""
        return [found for found in self.findings if found.severity >= level and not found.ignored]


def select(
    checks: Sequence[Check], only: Sequence[str], skip: Sequence[str], probes: bool
) -> list[Check]:
    """Return the checks that the patterns choose; a pattern that matches none raises
    ConfigError.
    """
    for pattern in [*only, *skip]:
        if not any(item.matches(pattern) for item in checks):
            raise ConfigError(
                f"no check matches '{pattern}'; --list shows their ids, areas and tags"
            )
    chosen = [
        item
        for item in checks
        if (not only or any(item.matches(pattern) for pattern in only))
        and not any(item.matches(pattern) for pattern in skip)
        and (probes or not item.probes)
    ]
    if not chosen:
        raise ConfigError("--only, --skip and --no-probes together leave no check to run")
    return chosen


def parse_ignores(text: str) -> list[Ignore]:
    """Read the lines of ``ignore``: ``ID [until YYYY-MM-DD]: reason``. Raises ConfigError for any
    other form.
    """
    ignores = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _IGNORE.match(line)
        try:
            if not match:
                raise ValueError
            until = datetime.date.fromisoformat(match["until"]) if match["until"] else None
        except ValueError:
            raise ConfigError(
                f"[{INI_SECTION}] ignore: '{line}' does not read 'ID: reason' or 'ID until YYYY-MM-DD: reason'"
            ) from None
        ignores.append(Ignore(match["id"], match["reason"], until))
    return ignores


def run(
    instance: Instance,
    checks: Sequence[Check],
    budget: float,
    compare_db: str = "",
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> Report:
    """Run `checks` within about `budget` seconds and rank what they find.

    Each probe gets a generous part of the time left, by its declared cost. Those that ask the
    application come first: what a request takes is what the users wait for, and nothing else may
    use that time up. Of the others the quick ones do: most need less than they may take, and what
    they leave goes to those that need all of it.
    """
    ignores = parse_ignores(instance.sections.get(INI_SECTION, {}).get("ignore", ""))
    today = datetime.date.today()
    started = time.monotonic()
    whole = Deadline(budget)
    results = Context(instance, Deadline(budget), compare_db)
    findings: list[Finding] = []
    ordered = sorted(checks, key=lambda item: (item.probes, "app" not in item.needs, item.seconds))
    costs = _costs(ordered)
    to_come = sum(costs)
    cut: list[str] = []
    for number, (item, cost) in enumerate(zip(ordered, costs)):
        progress(item.title, number, len(checks))
        share = (
            min(cost, whole.left, GENEROUS * whole.left * cost / to_come) if cost else whole.left
        )
        to_come -= cost
        context = dataclasses.replace(results, deadline=Deadline(share))
        possible = share >= cost * TOO_LITTLE
        already = len(findings)
        for found in _guarded(item, context) if possible else [_NO_TIME]:
            found = dataclasses.replace(found, check=item.id, slug=item.slug, area=item.area)
            findings.append(_with_ignore(_redacted(found, instance), item, ignores, today))
        short = share < cost and (not possible or context.deadline.left < share * NEARLY)
        if short and not _whole(findings[already:]):
            cut.append(item.id)
    notes = _cut_note(budget, cut, costs) + _idle_ignores(ignores, checks, today)
    return Report(
        ranked(findings), time.monotonic() - started, notes, tuple(item.id for item in checks)
    )


def _whole(findings: Sequence[Finding]) -> bool:
    """Whether a check said all that it had to say, however little time it had for it."""
    return bool(findings) and all(
        found.severity is not Severity.unknown and found.confidence == "high" for found in findings
    )


def _cut_note(budget: float, cut: Sequence[str], costs: Sequence[float]) -> list[str]:
    if not cut:
        return []
    # One second for what is no probe's: processes start, settings are read.
    enough = math.ceil(sum(costs) / GENEROUS + 1)
    return [
        "--budget %g gave these less than their time: %s; --budget %d would do"
        % (budget, ", ".join(cut), max(enough, math.ceil(budget * 1.5)))
    ]


def _costs(checks: Sequence[Check]) -> list[float]:
    """Return the seconds each check may take: a measurement counts for the first that needs it."""
    paid: set[Measurement[Any]] = set()
    costs = []
    for item in checks:
        due = set(item.measurements) - paid
        costs.append(sum(measurement.seconds for measurement in due))
        paid |= due
    return costs


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first; within a severity what costs the user most, then by id."""
    return sorted(
        findings,
        key=lambda found: (
            bool(found.ignored),
            -found.severity,
            -(found.impact_ms or 0.0),
            found.check,
            found.subject,
        ),
    )


def _guarded(item: Check, context: Context) -> Iterator[Finding]:
    """Run one check; whatever breaks in it is a finding, and the other checks go on."""
    try:
        yield from item.findings(context)
    except (NotMeasured, TuneError) as error:
        if interrupted(error):
            raise KeyboardInterrupt(f"({error})") from error
        yield Finding(Severity.unknown, f"not measured: {error}")
    except (Exception, SystemExit) as error:
        if interrupted(error):
            raise KeyboardInterrupt from error
        said = str(error).strip().splitlines()
        yield Finding(
            Severity.unknown,
            "not measured: {}{}".format(type(error).__name__, ": " + said[0] if said else ""),
            confidence="low",
        )


def _redacted(found: Finding, instance: Instance) -> Finding:
    words: dict[str, Any] = {
        name: instance.redactor.text(value)
        for name, value in vars(found).items()
        if isinstance(value, str)
    }
    evidence: Mapping[str, Any] = instance.redactor.value(dict(found.evidence))
    return dataclasses.replace(found, evidence=evidence, **words)


def _with_ignore(
    found: Finding, item: Check, ignores: Sequence[Ignore], today: datetime.date
) -> Finding:
    for ignore in ignores:
        if found.severity > Severity.ok and ignore.covers(item, today):
            until = f" (until {ignore.until})" if ignore.until else ""
            return dataclasses.replace(found, ignored=ignore.reason + until)
    return found


def _idle_ignores(
    ignores: Sequence[Ignore], checks: Sequence[Check], today: datetime.date
) -> list[str]:
    """Say which lines of ``ignore`` do nothing (any more)."""
    known = all_checks()
    notes = []
    for ignore in ignores:
        if ignore.until and ignore.until < today:
            notes.append(f"the ignore of {ignore.pattern} ran out on {ignore.until}")
        elif not any(item.matches(ignore.pattern) for item in [*checks, *known]):
            notes.append(f"ignore = {ignore.pattern} matches no check; --list shows them")
    return notes
