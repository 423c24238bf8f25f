"""What a check is, what it finds, and the registry of all of them."""

from __future__ import annotations

import enum
import fnmatch
import importlib
import pkgutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError
from kallithea_tune.text import figure

# In the order of the summary where two areas are equally bad.
AREAS = ("storage", "caching", "database", "serving", "logging", "repositories", "celery")
ENTRY_POINT_GROUP = "kallithea_tune.checks"


class Severity(enum.IntEnum):
    """How bad a finding is, worst last; `unknown` says that nothing could be measured."""

    ok = 0
    unknown = 1
    advice = 2
    warning = 3
    error = 4


@dataclass(frozen=True)
class Finding:
    """One thing found by one check about one subject.

    `evidence` holds numbers with their unit in the key (``p99_ms``); `impact_ms` is what the
    finding costs, in milliseconds per `impact_per` (``README view``), where that was measured.
    """

    severity: Severity
    diagnosis: str
    subject: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    threshold: str = ""
    source: str = ""
    remedy: str = ""
    confidence: str = "high"
    impact_ms: Optional[float] = None
    impact_per: str = ""
    check: str = ""
    slug: str = ""
    area: str = ""
    ignored: str = ""

    @property
    def impact(self) -> str:
        """The cost as the admin reads it, as in ``+146 ms per README view``."""
        if self.impact_ms is None:
            return ""
        return "{}{} ms per {}".format(
            "+" if self.impact_ms >= 0 else "", figure(self.impact_ms), self.impact_per
        )


class Deadline:
    """A point in time that probes look at between two operations."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline, never below zero."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0


@dataclass
class Context:
    """What a check is given: the instance, its share of the time, and the command's options."""

    instance: Instance
    deadline: Deadline
    compare_db: str = ""
    shared: dict[str, Any] = field(default_factory=dict)

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return what `compute` gave the first time any check of this run asked for `key`."""
        if key not in self.shared:
            try:
                self.shared[key] = compute(), None
            except Exception as error:
                self.shared[key] = None, error
        value, failure = self.shared[key]
        if failure is not None:
            raise failure
        return value


CheckFunction = Callable[[Context], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """A check: its stable id and everything `--list` and `--explain` say about it.

    `seconds` is the most time it takes when the budget allows (0 for reading settings only),
    `writes` where it leaves temporary files, `needs` what of the installation must work for it.
    Checks with the same `shares` read one measurement, which is paid for by the first of them that
    runs.
    """

    id: str
    slug: str
    title: str
    area: str
    run: CheckFunction
    seconds: float = 0.0
    writes: str = "nothing"
    needs: frozenset[str] = frozenset({"ini"})
    tags: frozenset[str] = frozenset()
    shares: str = ""

    @property
    def probes(self) -> bool:
        """Whether the check measures, beyond reading the configuration."""
        return self.seconds > 0

    def matches(self, pattern: str) -> bool:
        """Whether an id, slug, area or tag of the check matches the glob `pattern`."""
        names = {self.id, self.slug, self.area, *self.tags}
        return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names)

    @property
    def docs(self) -> str:
        """Where the page of this check is, below the documentation's root."""
        return f"docs/checks/{self.id}.rst"


def check(
    id: str,
    slug: str,
    title: str,
    area: str,
    seconds: float = 0.0,
    writes: str = "nothing",
    needs: Sequence[str] = ("ini",),
    tags: Sequence[str] = (),
    shares: str = "",
) -> Callable[[CheckFunction], Check]:
    """Make a `Check` of the function below: it gets a `Context` and yields its findings."""

    def decorate(function: CheckFunction) -> Check:
        return Check(
            id,
            slug,
            title,
            area,
            function,
            seconds,
            writes,
            frozenset(needs),
            frozenset(tags),
            shares,
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
                f"the check plug-in '{entry.name}' does not import: {error}"
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
