"""What a check is, what it finds, and the registry of all of them."""

from __future__ import annotations

import enum
import fnmatch
import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Collection, Iterable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.errors import ConfigError
from kallithea_tune.perf_check.measurement import Context, Measurement
from kallithea_tune.perf_check.remedy import Remedy
from kallithea_tune.system.busyness import Others, Part
from kallithea_tune.text import figure

# In the order of the summary where two areas are equally bad.
AREAS = (
    "storage",
    "caching",
    "database",
    "serving",
    "logging",
    "repositories",
    "services",
    "celery",
    "scaling",
)
ENTRY_POINT_GROUP = "kallithea_tune.checks"
# Beside others that slow the machine down so many times, a latency is judged with caution: our
# judgement.
DISTURBED = 1.5


class Severity(enum.IntEnum):
    """How bad a finding is, worst last; `unknown` says that nothing could be measured."""

    ok = 0
    unknown = 1
    advice = 2
    warning = 3
    error = 4


class Harm(enum.IntEnum):
    """Who is hurt by what a check finds, the worst first: the order within a severity."""

    access = 0
    """Somebody cannot log in, open a page, clone or push."""
    loss = 1
    """Data is lost or exposed."""
    every_page = 2
    """Every page is slow."""
    some_pages = 3
    """Some pages, clones or pushes are slow, or answer wrongly."""
    housekeeping = 4
    """Nobody is hurt yet."""

    def __str__(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Finding:
    """One thing found by one check about one subject.

    `evidence` holds numbers with their unit in the key (``p99_ms``); `impact_ms` is what the
    finding costs, in milliseconds per `impact_per` (``README view``), where that was measured, and
    `excess` how many times the threshold the measured latency is.
    `exact` is the remedy with the secrets that a run masks in `remedy`: to carry out, never shown.
    """

    severity: Severity
    diagnosis: str
    subject: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)
    threshold: str = ""
    source: str = ""
    remedy: Remedy = ""
    confidence: str = "high"
    impact_ms: Optional[float] = None
    impact_per: str = ""
    check: str = ""
    slug: str = ""
    area: str = ""
    ignored: str = ""
    excess: Optional[float] = None
    harm: Harm = Harm.housekeeping
    exact: Remedy = field(default="", repr=False, compare=False)

    @property
    def impact(self) -> str:
        """The cost as the admin reads it, as in ``+146 ms per README view``."""
        if self.impact_ms is None:
            return ""
        return "{}{} ms per {}".format(
            "+" if self.impact_ms >= 0 else "", figure(self.impact_ms), self.impact_per
        )


# What most checks of an area find; the others declare their own.
HARMS = {
    "storage": Harm.every_page,
    "caching": Harm.every_page,
    "database": Harm.every_page,
    "serving": Harm.every_page,
    "repositories": Harm.some_pages,
    "services": Harm.some_pages,
    "celery": Harm.some_pages,
    "scaling": Harm.access,
}


def graded(finding: Finding, others: Others, parts: Collection[Part]) -> Finding:
    """Return a latency's finding with what disturbed it, and no worse than what is ours.

    A latency has an `impact_ms` or an `excess`. Where others slow `parts` of the machine down by
    more than the threshold was exceeded, it would be within it without them: this is advice at
    most, of low confidence. So it is where the excess is not known.
    """
    slowdown = others.slowdown(parts)
    if slowdown < DISTURBED or (finding.impact_ms is None and finding.excess is None):
        return finding
    finding = replace(finding, evidence={**finding.evidence, "others_used": str(others)})
    if finding.severity < Severity.advice or (finding.excess or 0.0) > slowdown:
        return finding
    return replace(
        finding,
        severity=Severity.advice,
        confidence="low",
        diagnosis=f"{finding.diagnosis}, on a busy machine",
    )


@dataclass(frozen=True)
class Check:
    """A check: its stable id, and the function that judges what was measured.

    `judge` gets the results of `measures` in their order and yields findings. Those that do not say
    so themselves get the `threshold` and its `source` from here. Cost, order and needs follow from
    the measurements. `disturbed_by` has the parts of the machine of which a latency that is judged
    depends on the use by others. `settings` are what --no-probes takes in place of `measures`, of
    the same types.
    """

    id: str
    slug: str
    title: str
    area: str
    judge: Callable[..., Iterable[Finding]]
    measures: tuple[Measurement[Any], ...]
    threshold: str = ""
    source: str = ""
    tags: frozenset[str] = frozenset()
    harm: Harm = Harm.housekeeping
    disturbed_by: frozenset[Part] = frozenset()
    settings: tuple[Measurement[Any], ...] = ()

    @property
    def unprobed(self) -> Check:
        """The check on what settings alone say, where it can do with that; else the check."""
        return replace(self, measures=self.settings) if self.settings else self

    def requested(self, context: Context) -> bool:
        """Whether all that it judges is to be measured in this run."""
        return all(one.requested(context) for one in self.measures)

    @property
    def measurements(self) -> tuple[Measurement[Any], ...]:
        """All measurements that are taken for this check, each once."""
        return tuple(dict.fromkeys(one for item in self.measures for one in item.closure))

    @property
    def seconds(self) -> float:
        """The most time that the check takes when the budget allows, 0 for reading settings."""
        return sum(item.seconds for item in self.measurements)

    @property
    def writes(self) -> str:
        """Where temporary files are written."""
        return ", ".join(dict.fromkeys(item.writes for item in self.measurements if item.writes))

    @property
    def needs(self) -> frozenset[str]:
        """What of the installation must work for it."""
        return frozenset({"ini"}).union(*(item.needs for item in self.measurements))

    @property
    def probes(self) -> bool:
        """Whether the check measures, beyond reading the configuration."""
        return self.seconds > 0

    def findings(self, context: Context) -> Iterator[Finding]:
        """Judge what is measured, or was before; raises what a measurement raises.

        What was not examined is unknown, and nothing is ok where nothing was examined.
        """
        results = [context.measure(item) for item in self.measures]
        examined = [result.examined for result in results]
        nothing = any(item.nothing for item in examined)
        seen: set[Severity] = set()
        for finding in self.judge(*results):
            if nothing and finding.severity is Severity.ok:
                continue
            seen.add(finding.severity)
            yield self._completed(finding, context)
        # What the check says about the rest itself, or about why it is nothing, says more.
        if Severity.unknown not in seen:
            for item in examined:
                if not item.complete and not (item.nothing and seen):
                    yield Finding(Severity.unknown, f"not measured: {item.rest}")

    def _completed(self, finding: Finding, context: Context) -> Finding:
        """Add what the check declares, and what disturbed its measurements the most."""
        parts = self.disturbed_by
        taken = filter(None, map(context.outcomes.get, self.measurements if parts else ()))
        seen = [outcome.others for outcome in taken if outcome.others]
        slowest = max(seen, key=lambda one: one.slowdown(parts), default=Others())
        finding = graded(finding, slowest, parts)
        return replace(
            finding,
            threshold=finding.threshold or self.threshold,
            source=finding.source or self.source,
        )

    def matches(self, pattern: str) -> bool:
        """Whether an id, slug, area or tag of the check matches the glob `pattern`."""
        names = {self.id, self.slug, self.area, *self.tags}
        return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names)


def check(
    id: str,
    slug: str,
    title: str,
    area: str = "",
    *,
    measures: Sequence[Measurement[Any]],
    threshold: str = "",
    source: str = "",
    tags: Sequence[str] = (),
    harm: Optional[Harm] = None,
    disturbed_by: Collection[Part] = (),
    settings: Sequence[Measurement[Any]] = (),
) -> Callable[[Callable[..., Iterable[Finding]]], Check]:
    """Make a `Check` of the function below; see there for the arguments.

    The area is by default the folder that the function's module lies in, and the harm that of the
    area.
    """

    def decorate(function: Callable[..., Iterable[Finding]]) -> Check:
        own_area = area or function.__module__.split(".")[-2]
        return Check(
            id,
            slug,
            title,
            own_area,
            function,
            tuple(measures),
            threshold,
            source,
            frozenset(tags),
            HARMS.get(own_area, Harm.housekeeping) if harm is None else harm,
            frozenset(disturbed_by),
            tuple(settings),
        )

    return decorate


def check_modules() -> list[str]:
    """Return the names of our own modules of checks: those in a folder of `AREAS` that end with
    ``_checks``.
    """
    return [
        f"kallithea_tune.perf_check.{area}.{module.name}"
        for area in AREAS
        for module in pkgutil.iter_modules([str(Path(__file__).with_name(area))])
        if module.name.endswith("_checks")
    ]


def all_checks() -> list[Check]:
    """Return every check by id: those of `check_modules` and those of the entry-point group.

    An entry point names a `Check` or a module holding some. Raises ConfigError when two share an
    id.
    """
    holders: list[Any] = list(map(importlib.import_module, check_modules()))
    for entry in _entry_points(ENTRY_POINT_GROUP):
        try:
            holders.append(entry.load())
        except Exception as error:
            raise ConfigError(
                f"the check plug-in '{entry.name}' cannot be imported: {error}"
            ) from error
    found: dict[str, Check] = {}
    for holder in holders:
        for item in [holder] if isinstance(holder, Check) else vars(holder).values():
            if not isinstance(item, Check):
                continue
            if found.setdefault(item.id, item) is not item:
                raise ConfigError(
                    f"two checks share the id {item.id}: {found[item.id].slug} and {item.slug}"
                )
    return [found[key] for key in sorted(found)]


def _entry_points(group: str) -> tuple[Any, ...]:
    from importlib import metadata

    points: Any = metadata.entry_points()
    return tuple(points.select(group=group) if hasattr(points, "select") else points.get(group, ()))
