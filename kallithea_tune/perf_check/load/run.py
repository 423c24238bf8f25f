"""Measures how throughput and latencies change with the number of workers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Callable, Iterator, Mapping, Sequence

from kallithea_tune.app.exchange import Served
from kallithea_tune.app.owner import owner_of
from kallithea_tune.app.visit import Visitor, colleagues
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.load import generator
from kallithea_tune.perf_check.load.generator import Hits, Survey, Volley
from kallithea_tune.perf_check.load.mix import Mix, deck
from kallithea_tune.perf_check.results import Curve, Level
from kallithea_tune.system import child, processes
from kallithea_tune.system.account import acting_as
from kallithea_tune.system.scratch import scratch
from kallithea_tune.text import counted

Progress = Callable[[str, int, int], None]
# So long the load is not counted: until every worker is busy.
RAMP_S = 1.0
# More than these are no answer to how many are needed, and fill the memory: our judgement.
MOST_WORKERS = 32
# For the first requests of all kinds, clones among them, on a busy machine.
SURVEY_S = 300.0
PROCESSES, THREADS = "processes", "threads of one process"
_READ_ONLY = (
    "the processes only read: pulls are not logged, sessions and caches are in a directory of "
    "their own"
)
_OURS = "waitress serves them; the server that runs now was not measured, --load URL does that"
_LOGGED = "the clones are in that instance's log of actions"


@dataclass(frozen=True)
class Plan:
    """A load: `mix` for `seconds` at each of `levels`, all of them `repeats` times.

    A level is a number of processes that are started from the ini for it, or of threads in one
    process with `threads`; with the `url` of a running instance, of clients.
    """

    mix: Mix
    levels: tuple[int, ...]
    repeats: int = 3
    seconds: float = 8.0
    threads: bool = False
    url: str = ""

    @property
    def subject(self) -> str:
        """What a level is a number of."""
        if self.url:
            return f"clients of {self.url}"
        return THREADS if self.threads else PROCESSES


@dataclass(frozen=True)
class _Target:
    """What the load is sent to at a level: `bases` and `clients`, both by the level."""

    bases: Callable[[int], tuple[str, ...]]
    clients: Callable[[int], int]
    pids: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def levels_for(cores: float) -> tuple[int, ...]:
    """Return the levels for a machine: at least six, and up to four workers for each core.

    The peak lies at about one worker a core where the processor is the limit, and is seen only
    where levels beyond it are measured.
    """
    most = min(MOST_WORKERS, max(8, round(cores * 4)))
    chosen = [1, 2, 3, 4, 6, 8]
    while chosen[-1] * 4 // 3 <= most:
        chosen.append(chosen[-1] * 4 // 3 // 2 * 2)
    return tuple(chosen)


def measure(instance: Instance, plan: Plan, progress: Progress) -> Curve:
    """Return the measured levels, without bands and peak, which `scalability` fits.

    For another database, give an instance with another ``sqlalchemy.url``. Raises NotMeasured where
    the application does not start, or anonymous visitors cannot read what the mix consists of.
    """
    with acting_as(owner_of(instance).account), _target(instance, plan, progress) as target:
        with scratch(_place(instance)) as directory:
            found = _surveyed(target, plan, directory)
            sent = _sendable(plan.mix, found)
            levels = _measured(plan, target, sent, found, directory, progress)
        worker_bytes = max((processes.memory(pid)[0] for pid in target.pids), default=0)
    notes = (*target.notes, f"mix: {sent.text} ({sent.source})", *_left_out(found))
    return Curve(
        subject=plan.subject,
        levels=tuple(_level(workers, hits) for workers, hits in levels.items()),
        notes=(*notes, *_concerns(levels)),
        worker_bytes=worker_bytes,
    )


def _place(instance: Instance) -> str:
    """Return the directory that clones are made in: on a disk of the instance, as its own data."""
    path = instance.directory("cache_dir") or os.path.dirname(instance.path)
    return path if os.path.isdir(path) else os.path.dirname(instance.path)


@contextlib.contextmanager
def _target(instance: Instance, plan: Plan, progress: Progress) -> Iterator[_Target]:
    most = max(plan.levels)
    if plan.url:
        url = plan.url.rstrip("/")
        yield _Target(lambda level: (url,), lambda level: level, (), plan.levels, (_LOGGED,))
        return
    with colleagues(instance, {}, 1 if plan.threads else most) as visitors:
        started = list(_started(visitors, plan, progress))
        bases = tuple(served.url for _, served in started)
        pids = tuple(served.pid for _, served in started)
        if plan.threads:
            threads = _threads(started[0][0], bases)
            yield _Target(threads, lambda level: most, pids, plan.levels, (_READ_ONLY, _OURS))
            return
        levels = tuple(level for level in plan.levels if level <= len(bases))
        notes = [_READ_ONLY, _OURS]
        if levels != plan.levels:
            notes.append(
                f"no more than {counted(len(bases), 'process')}: there is no memory for more"
            )
        yield _Target(lambda level: bases[:level], lambda level: most, pids, levels, tuple(notes))


def _started(
    visitors: Iterator[Visitor], plan: Plan, progress: Progress
) -> Iterator[tuple[Visitor, Served]]:
    """Start one server after the other, as long as there is memory for one more."""
    for number, visitor in enumerate(visitors):
        progress(f"{plan.subject}: starting", number, max(plan.levels))
        served = visitor.serve()
        yield visitor, served
        if not _room_for(served.pid):
            return


def _threads(visitor: Visitor, bases: tuple[str, ...]) -> Callable[[int], tuple[str, ...]]:
    def prepared(level: int) -> tuple[str, ...]:
        visitor.set_threads(level)
        return bases

    return prepared


def _room_for(pid: int) -> bool:
    """Whether there is memory for two further processes as large as `pid`, so that none swaps."""
    import psutil

    available: int = psutil.virtual_memory().available
    return available > 2 * processes.memory(pid)[0]


def _surveyed(target: _Target, plan: Plan, directory: str) -> Survey:
    """Have each server answer everything once, which fills its caches; return the first's."""
    found = [
        child.call(
            generator.survey,
            SURVEY_S,
            base=base,
            repositories=plan.mix.repositories,
            directory=directory,
        )
        for base in target.bases(max(target.levels))
    ]
    return found[0]


def _sendable(mix: Mix, found: Survey) -> Mix:
    """Return the mix without what cannot be sent."""
    shares = {kind: share for kind, share in mix.shares.items() if kind.name in found.paths}
    total = sum(shares.values())
    if not total:
        raise NotMeasured("; ".join(found.left_out) or "there is nothing to send")
    return replace(mix, shares={kind: share / total for kind, share in shares.items()})


def _left_out(found: Survey) -> tuple[str, ...]:
    return tuple(f"not in the load: {reason}" for reason in found.left_out)


def _measured(
    plan: Plan, target: _Target, mix: Mix, found: Survey, directory: str, progress: Progress
) -> Mapping[int, Sequence[Hits]]:
    """Send the load at each level, up and down in turn, so that a trend of the machine is none of
    the curve's.
    """
    hits: dict[int, list[Hits]] = {level: [] for level in target.levels}
    total = len(target.levels) * plan.repeats
    for repeat in range(plan.repeats):
        for level in target.levels if repeat % 2 == 0 else reversed(target.levels):
            done = sum(map(len, hits.values()))
            progress(f"{plan.subject}: {level}", done, total)
            volley = Volley(
                target.bases(level),
                target.clients(level),
                RAMP_S,
                plan.seconds,
                deck(mix),
                found.paths,
                directory,
            )
            hits[level].append(child.call(generator.send, _longest_s(plan), volley=volley))
    return hits


def _longest_s(plan: Plan) -> float:
    # The last requests may be slow, and then clones are verified.
    return RAMP_S + plan.seconds + 2 * generator.PATIENCE_S + SURVEY_S


def _level(workers: int, hits: Sequence[Hits]) -> Level:
    return Level(
        workers=workers,
        requests_s=tuple(hit.rate for hit in hits),
        latencies_ms=tuple(ms for hit in hits for ms in hit.latencies_ms),
        requests=sum(hit.requests for hit in hits),
        errors=sum(hit.errors for hit in hits),
        generator_cpu=sum(hit.cpu for hit in hits) / len(hits),
    )


def _concerns(levels: Mapping[int, Sequence[Hits]]) -> Iterator[str]:
    reasons = dict.fromkeys(
        reason for hits in levels.values() for hit in hits for reason in hit.reasons
    )
    for reason in list(reasons)[: generator.REASONS]:
        yield f"error: {reason}"
