"""Selects checks, divides the time among them, runs them and collects their findings."""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Optional, Sequence

from kallithea_tune.app.owner import Owner, owner_of
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured, TuneError, interrupted
from kallithea_tune.perf_check import remedy
from kallithea_tune.perf_check.budget import Cut, enough, shares
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity, all_checks
from kallithea_tune.system import child, interruption
from kallithea_tune.system.account import acting_as
from kallithea_tune.system.busyness import Busyness, busyness
from kallithea_tune.text import shortened

INI_SECTION = "kallithea_tune"
# What still runs so many seconds after the end of the budget is killed. A measurement keeps to its
# time by itself, unless what it measures hangs; starting processes takes a while, too.
GRACE_S = 3.0
_IGNORE = re.compile(
    r"^(?P<id>\S+)(?:\s+until\s+(?P<until>\d{4}-\d{2}-\d{2}))?\s*:\s*(?P<reason>\S.*)$"
)
_NO_TIME = Finding(Severity.unknown, "not measured: the budget left no time for it")


@dataclass(frozen=True)
class Ignore:
    """A finding that the admin accepts: which, why, and until when."""

    pattern: str
    reason: str
    until: Optional[datetime.date] = None

    def covers(self, check: Check, today: datetime.date) -> bool:
        """Whether this line still silences findings of `check`."""
        return check.matches(self.pattern) and (self.until is None or today <= self.until)


@dataclass
class Run:
    """The findings of one run, in the order to read them, and how many seconds it took.

    `busyness` is that of the machine when the run ended. The checks in `cut` had too little time,
    and a budget of `enough` seconds would do.
    """

    findings: list[Finding]
    seconds: float
    notes: list[str] = field(default_factory=list)
    checks: tuple[str, ...] = ()
    busyness: Optional[Busyness] = None
    cut: tuple[str, ...] = ()
    enough: int = 0

    def at_least(self, level: Severity) -> list[Finding]:
        """The findings that are not ignored and as bad as `level` or worse."""
        return [found for found in self.findings if found.severity >= level and not found.ignored]


def select(
    checks: Sequence[Check], only: Sequence[str], skip: Sequence[str], probes: bool
) -> list[Check]:
    """Return the checks that the patterns choose; ConfigError when a pattern matches none."""
    for pattern in [*only, *skip]:
        if not any(item.matches(pattern) for item in checks):
            raise ConfigError(
                f"no check matches '{pattern}'; --list shows their ids, areas and tags"
            )
    chosen = [
        item
        for item in (checks if probes else [item.unprobed for item in checks])
        if (not only or any(item.matches(pattern) for pattern in only))
        and not any(item.matches(pattern) for pattern in skip)
        and (probes or not item.probes)
    ]
    if not chosen:
        raise ConfigError("--only, --skip and --no-probes together leave no check to run")
    return chosen


def parse_ignores(text: str) -> list[Ignore]:
    """Read the lines ``ID [until YYYY-MM-DD]: reason``. Raises ConfigError for another form."""
    ignores = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _IGNORE.match(line)
        try:
            if not match:
                raise ValueError
            until = datetime.date.fromisoformat(match["until"]) if match["until"] else None
        except ValueError:
            raise ConfigError(
                f"[{INI_SECTION}] ignore: '{line}' is not of the form 'ID: reason' or "
                "'ID until YYYY-MM-DD: reason'"
            ) from None
        ignores.append(Ignore(match["id"], match["reason"], until))
    return ignores


def run(
    instance: Instance,
    checks: Sequence[Check],
    budget: float,
    compare_db: str = "",
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> Run:
    """Run `checks` within about `budget` seconds and rank their findings, as `run_in`."""
    return run_in(Context(instance, Deadline(budget), compare_db), checks, budget, progress)


def run_in(
    results: Context,
    checks: Sequence[Check],
    budget: float,
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> Run:
    """Run `checks` within about `budget` seconds and rank their findings; `results` may have
    outcomes of measurements already, and gets those of all that are taken.

    `budget.shares` has their order and the time of each. Root measures as the owner of the data,
    and a note says so. Raises what `owner_of` does.
    """
    instance = results.instance
    with child.wall(budget + GRACE_S):
        owner = owner_of(instance)
        with acting_as(owner.account):
            result = _run(results, checks, budget, progress)
    result.findings = [_complete_remedy(item, instance, owner) for item in result.findings]
    result.notes += map(instance.redactor.text, owner.notes("Measured"))
    return result


def _run(
    results: Context,
    checks: Sequence[Check],
    budget: float,
    progress: Callable[[str, int, int], None],
) -> Run:
    instance, deadline = results.instance, results.deadline
    ignores = parse_ignores(instance.sections.get(INI_SECTION, {}).get("ignore", ""))
    today = datetime.date.today()
    started = time.monotonic()
    findings: list[Finding] = []
    cut = Cut()
    begun = [item for item in checks if item.requested(results)]
    for number, share in enumerate(shares(begun, deadline)):
        interruption.check()
        item = share.check
        progress(item.title, number, len(begun))
        context = dataclasses.replace(results, deadline=Deadline(share.seconds))
        own = [
            _redacted(_with_ignore(labelled(finding, item), item, ignores, today), instance)
            for finding in (_guarded(item, context) if cut.begins(share) else [_NO_TIME])
        ]
        findings += own
        unknown = {one.diagnosis for one in own if one.severity is Severity.unknown}
        if unknown:
            cut.ends(share, context.deadline.left, _NO_TIME.diagnosis in unknown)
    notes = [instance.redactor.text(note) for note in _idle_ignores(ignores, checks, today)]
    return Run(
        ranked(findings),
        time.monotonic() - started,
        notes,
        tuple(item.id for item in checks),
        busyness(),
        tuple(cut.ids),
        enough(begun, budget) if cut.ids else 0,
    )


def labelled(finding: Finding, item: Check) -> Finding:
    """Return the finding as one of a check."""
    return dataclasses.replace(
        finding, check=item.id, slug=item.slug, area=item.area, harm=item.harm
    )


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first; within a severity by who is hurt, by the cost for users, and by id."""
    return sorted(
        findings,
        key=lambda finding: (
            bool(finding.ignored),
            -finding.severity,
            finding.harm,
            -(finding.impact_ms or 0.0),
            finding.check,
            finding.subject,
        ),
    )


def _guarded(item: Check, context: Context) -> Iterator[Finding]:
    """Run one check; any failure in it is a finding, and the other checks go on."""
    try:
        yield from item.findings(context)
    except child.OutOfTime:
        yield _NO_TIME
    except (NotMeasured, TuneError) as error:
        if interrupted(error):
            raise KeyboardInterrupt(f"({error})") from error
        yield Finding(Severity.unknown, f"not measured: {error}")
    except (Exception, SystemExit) as error:
        if interrupted(error):
            raise KeyboardInterrupt from error
        lines = str(error).strip().splitlines()
        message = f": {shortened(lines[0])}" if lines else ""
        yield Finding(
            Severity.unknown,
            f"not measured: {type(error).__name__}{message}",
            confidence="low",
        )


def _redacted(finding: Finding, instance: Instance) -> Finding:
    redactor = instance.redactor
    texts: dict[str, Any] = {
        name: redactor.text(value)
        for name, value in vars(finding).items()
        if isinstance(value, str) and name not in ("remedy", "exact")
    }
    return dataclasses.replace(
        finding,
        **texts,
        evidence=redactor.value(dict(finding.evidence)),
        remedy=remedy.redacted(finding.remedy, redactor),
        exact=finding.remedy,
    )


def _complete_remedy(finding: Finding, instance: Instance, owner: Owner) -> Finding:
    """Have options set where the ini file has them, and root's commands run as the data's owner."""

    def complete(item: remedy.Remedy) -> remedy.Remedy:
        item = remedy.placed(item, instance)
        return remedy.as_user(item, owner.account.shown) if owner.account else item

    if not remedy.steps_of(finding.exact):
        return finding
    return dataclasses.replace(
        finding, remedy=complete(finding.remedy), exact=complete(finding.exact)
    )


def _with_ignore(
    finding: Finding, item: Check, ignores: Sequence[Ignore], today: datetime.date
) -> Finding:
    for ignore in ignores:
        if finding.severity > Severity.ok and ignore.covers(item, today):
            until = f" (until {ignore.until})" if ignore.until else ""
            return dataclasses.replace(finding, ignored=ignore.reason + until)
    return finding


def _idle_ignores(
    ignores: Sequence[Ignore], checks: Sequence[Check], today: datetime.date
) -> list[str]:
    """Return a note for each line of ``ignore`` that has no effect."""
    known = all_checks()
    notes = []
    for ignore in ignores:
        if ignore.until and ignore.until < today:
            notes.append(f"ignore = {ignore.pattern} expired on {ignore.until}")
        elif not any(item.matches(ignore.pattern) for item in [*checks, *known]):
            notes.append(f"ignore = {ignore.pattern} matches no check; --list shows them")
    return notes
