"""What a proposed setting would change: real requests and checks, in scratch, before and after."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence, TextIO

from kallithea_tune.app import repositories, visit
from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.owner import owner_of
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured, TuneError
from kallithea_tune.perf_check import runner, saved_run
from kallithea_tune.perf_check.measurement import Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.serving.option_names import is_read
from kallithea_tune.perf_check.statistics import paired_difference
from kallithea_tune.system import child
from kallithea_tune.system.account import acting_as
from kallithea_tune.text import figure, printable, wrapped

COLUMNS = ("measured", "before", "after", "unit", "difference_from", "difference_to", "verdict")
ROUNDS = 9
# Less is called the same, however sure: our judgement of what nobody notices.
LEAST_MS, LEAST_PART = 0.1, 0.02
# The areas whose probes are worth repeating for an option. What only reads settings is always
# repeated.
AREAS_OF = (
    ("beaker.", ("caching",)),
    ("cache_dir", ("caching", "storage")),
    ("sqlalchemy.", ("database",)),
    ("celery.", ("celery",)),
    ("use_celery", ("celery",)),
    ("index_dir", ("storage",)),
    ("serve_static", ("serving",)),
    ("static_files", ("serving",)),
    ("filter-with", ("serving",)),
)


@dataclass(frozen=True)
class Comparison:
    """One thing measured before and after; the difference, where there is one, with its 95 %
    interval.
    """

    measured: str
    before: Any
    after: Any
    verdict: str
    unit: str = ""
    difference_from: Optional[float] = None
    difference_to: Optional[float] = None


def proposed(instance: Instance, wanted: Sequence[str]) -> Instance:
    """Return `instance` with each ``NAME=VALUE`` of `wanted` set in memory.

    Raises ConfigError for another form, a section that is not there, and an option that nothing
    here reads.
    """
    settings = {}
    for item in wanted:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                "--try reads NAME=VALUE, or SECTION.NAME=VALUE as in server:main.threads=1"
            )
        settings[key.strip()] = value.strip()
        _refuse_unknown(instance, key.strip())
    return instance.with_settings(settings)


def _refuse_unknown(instance: Instance, key: str) -> None:
    section, option = instance.place(key)
    if ":" in option:
        sections = ", ".join(name for name in instance.sections if ":" in name)
        raise ConfigError(f"--try {key}: there is no such section; the sections are {sections}")
    if not section:
        raise ConfigError(
            f"--try {key}: the application's settings are in another file; give that one to -c"
        )
    application = section == instance.section
    known = {*instance.sections[section], *(instance.settings if application else ())}
    use = instance.use if application else instance.sections[section].get("use", "")
    names, first = {option}, option.partition(".")[0] + "."
    if any(other.startswith(first) for other in known):
        # The libraries put such options together from a prefix and a name.
        names.add(option.rpartition(".")[2])
    if option not in known and not is_read(use, names):
        raise ConfigError(
            f"--try {key}: neither the ini file nor the code of {use or key} knows this option"
        )


def compare(
    before: Instance,
    after: Instance,
    checks: Sequence[Check],
    seconds: float,
    compare_db: str = "",
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> tuple[list[Comparison], runner.Run]:
    """Measure both within about `seconds`, as `runner.run` does.

    Returns the comparisons, and the run of `checks` with the proposed setting. Processes that serve
    now have read the old one, so settings are judged in their place.
    """
    owner, unprobed = owner_of(before), [item.unprobed for item in checks]
    with acting_as(owner.account):
        comparisons, now = _compared(before, after, unprobed, seconds, compare_db, progress)
    # How the budget was divided between the two runs is of no use to the admin.
    now.notes = owner.notes("Measured")
    return comparisons, now


def _compared(
    before: Instance,
    after: Instance,
    checks: Sequence[Check],
    seconds: float,
    compare_db: str,
    progress: Callable[[str, int, int], None],
) -> tuple[list[Comparison], runner.Run]:
    deadline = Deadline(seconds)
    visited = []
    with child.wall(seconds + runner.GRACE_S):
        if set(after.changes) & {before.section, "DEFAULT"}:
            share = seconds / 2 if any(item.probes for item in checks) else seconds
            visited = _visited(before, after, share, progress)
        left = deadline.left
        then = runner.run(before, checks, left / 2, compare_db, progress)
        now = runner.run(after, checks, left / 2, compare_db, progress)
    return visited + _changed(then, now), now


def concerned(checks: Sequence[Check], instance: Instance) -> list[Check]:
    """Return the checks that only read settings, and those of the areas that are changed."""
    options = [option for changed in instance.changes.values() for option in changed]
    areas = {
        area
        for prefix, found in AREAS_OF
        for area in found
        for option in options
        if option.startswith(prefix)
    }
    return [item for item in checks if not item.unprobed.probes or item.area in areas]


def _visited(
    before: Instance, after: Instance, seconds: float, progress: Callable[[str, int, int], None]
) -> list[Comparison]:
    deadline = Deadline(seconds)
    pages = _pages(before)
    requests = [visit.Request(path) for path in pages.values()]
    visits: dict[bool, list[visit.Visit]] = {False: [], True: []}
    for step in range(4):
        changed = bool(step % 2)
        preposition = "with" if changed else "without"
        progress(f"the application {preposition} the setting", step, 4)
        try:
            visits[changed].append(
                visit.visit(
                    after if changed else before,
                    requests,
                    max(1.0, deadline.left / (4 - step)),
                    rounds=ROUNDS,
                )
            )
        except DoesNotLoad as error:
            message = after.redactor.text(error.reason)
            if changed:
                return [Comparison("the application", "loads", message, "worse")]
            return [Comparison("the application", message, "not tried", "unknown")]
        except (NotMeasured, child.OutOfTime) as error:
            return [Comparison("the application", "", str(error), "unknown")]
    starts = [
        statistics.mean(visit.start_ms for visit in visits[changed]) for changed in (False, True)
    ]
    found = [Comparison("start of the application", starts[0], starts[1], "", "ms")]
    for position, title in enumerate(pages):
        answers = [
            [visit.answers[position] for visit in visits[changed]] for changed in (False, True)
        ]
        found += judge_answers(title, *answers)
    return found


def _pages(instance: Instance) -> dict[str, str]:
    """Return the path of each page to request, by the name that admins know it by."""
    from sqlalchemy.exc import SQLAlchemyError

    pages = {"front page": "/", "a static file": "/images/kallithea-logo.svg"}
    try:
        names = repositories.latest(instance)
    except (TuneError, NotMeasured, SQLAlchemyError):
        # The application needs the database, too, and reports why it does not answer.
        return pages
    return {**pages, **{f"summary of {name}": "/" + name for name in names.values()}}


def judge_answers(
    title: str, before: Sequence[visit.Answer], after: Sequence[visit.Answer]
) -> list[Comparison]:
    """Compare the status of a page, and its time after the first request, in pairs of visits."""
    first, second = before[0].status, after[0].status
    rows = []
    if first != second:
        rows.append(Comparison(title + ", status", first, second, "changed"))
    rounds = min(len(answer.ms) for answer in [*before, *after]) - 1
    if rounds * len(before) < 5:
        return rows + [
            Comparison(title, "", f"the time allowed {max(0, rounds)} rounds", "unknown")
        ]
    old, new = ([answer.ms[1 : rounds + 1] for answer in answers] for answers in (before, after))
    found = paired_difference(sum(new, ()), sum(old, ()))
    middle = statistics.median(sum(old, ()))
    # How far two runs of the application are apart without any change.
    noise = max(abs(statistics.median(one) - statistics.median(other)) for one, other in (old, new))
    sure = found.above_zero or found.below_zero
    if sure and abs(found.estimate) > max(noise, LEAST_MS, LEAST_PART * middle):
        verdict = "slower" if found.above_zero else "faster"
    else:
        verdict = "same"
    return rows + [
        Comparison(title, middle, middle + found.estimate, verdict, "ms", found.low, found.high)
    ]


def _changed(then: runner.Run, now: runner.Run) -> list[Comparison]:
    """Return the findings that the setting changes, and those not measured with it."""
    changes = {}
    for old, new in saved_run.pairs(
        *(saved_run.saved(run.checks, run.findings) for run in (then, now))
    ):
        word = saved_run.change_of(old, new).partition(":")[0]
        if new and new.severity is Severity.unknown:
            word = "unknown"
        finding = new or old
        if word and finding:
            title = f"{finding.check} {finding.subject}".strip()
            key = finding.check, finding.subject
            changes[key] = Comparison(title, _brief(old), _brief(new), word)
    return list(changes.values())


def _brief(finding: Optional[Finding]) -> str:
    return f"{finding.severity.name}: {finding.diagnosis}" if finding else "nothing found"


def rows(comparisons: Sequence[Comparison]) -> list[list[object]]:
    """Return one row of `COLUMNS` for each comparison."""
    return [[getattr(item, name) for name in COLUMNS] for item in comparisons]


def write_text(
    before: Instance,
    after: Instance,
    comparisons: Sequence[Comparison],
    notes: Sequence[str],
    stream: TextIO,
) -> None:
    """Write for people what was tried and what it changes."""
    for section, options in after.changes.items():
        now = {
            **before.sections.get(section, {}),
            **(before.settings if section == before.section else {}),
        }
        for option, value in options.items():
            new, old = (
                after.redactor.value({option: text})[option]
                for text in (value, now.get(option, "not set"))
            )
            setting = f"[{section}] {option} = {new} (now: {old})"
            print(*wrapped("Tried, not written anywhere: ", setting, 3), sep="\n", file=stream)
    numbers = [item for item in comparisons if item.unit or isinstance(item.before, int)]
    if numbers:
        print(f"\n{'':<30} {'before':>12} {'after':>12}", file=stream)
    for item in numbers:
        print(_line(item), file=stream)
    others = [item for item in comparisons if item not in numbers]
    for item in others:
        print("\n" + printable(f"{item.measured}: {item.verdict}"), file=stream)
        print(
            *wrapped("  before: ", str(item.before)),
            *wrapped("  after:  ", str(item.after)),
            sep="\n",
            file=stream,
        )
    if not others:
        print("\nThe checks find the same.", file=stream)
    for note in notes:
        print("", *wrapped("Note: ", note, 3), sep="\n", file=stream)


def _line(item: Comparison) -> str:
    values = [(f"{figure(value)} {item.unit}").strip() for value in (item.before, item.after)]
    verdict = item.verdict
    ends = (item.difference_from, item.difference_to)
    if verdict in ("slower", "faster") and None not in ends:
        low, high = sorted(abs(end or 0.0) for end in ends)
        verdict += f" by {low:.2g} to {high:.2g}"
    before, after = values
    return f"{printable(item.measured):<30.30} {before:>12} {after:>12}  {verdict}".rstrip()
