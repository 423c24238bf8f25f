"""Times how git lists a repository's history, as Kallithea has it done twice for each summary page.

git is run on a scratch repository that borrows the objects of the real one by
``objects/info/alternates``, so that nothing it might write (a lock, a cache, a commit-graph) can
reach the real one.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Callable, Iterable, Optional, Protocol, Sequence

from kallithea_tune.app.package import package_directory
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories import git_names
from kallithea_tune.perf_check.repositories.git import GitRepository, object_names
from kallithea_tune.perf_check.repositories.survey import Survey, survey
from kallithea_tune.system import child, programs
from kallithea_tune.system.files import Broken, text
from kallithea_tune.system.scratch import scratch
from kallithea_tune.text import shortened

HISTORY_SECONDS = 2.0
# How many repositories are timed at most.
TIMED = 5
ROUNDS = 3
# Kallithea's summary page runs git rev-list and git log over the complete history, each time.
WALKS = 2
# The output of a command that Kallithea's reader takes before it stops reading: 18 chunks of 4096
# bytes.
READER_BYTES = 18 * 4096
# In lines of rev-list: 40 digits and a newline.
READER_REVISIONS = READER_BYTES // 41
# It waits for a full second when it misses that it has stopped.
LONG_WAIT_MS = 500
# On an idle machine it misses that about every second time, and less often where git has to wait
# for the processor. Once one run waited, five show how often.
RUNS_WITHOUT, RUNS = 12, 5
# How many are enough where time is short.
FEW_RUNS = 3
ENGLISH = {"LC_ALL": "C"}  # for git's messages


@dataclass(frozen=True)
class Source:
    """A repository to be timed."""

    name: str
    path: str
    commit_graph: bool


@dataclass(frozen=True)
class History:
    """How long git takes to list the history of a repository.

    `now_ms` is as it is, or how long git was given when it was `late`; `graph_ms` with a
    commit-graph, None where that was not tried, and then `start_ms` is what git takes to start and
    to read the refs. `error` is the message of a git that could not read it, `graph_fails` tells
    that it can without its commit-graph. `waits_ms` are the times by which runs through Kallithea's
    own reader took longer, where that was tried.
    """

    name: str
    revisions: Optional[int] = None
    now_ms: Optional[float] = None
    graph_ms: Optional[float] = None
    waits_ms: tuple[float, ...] = ()
    late: bool = False
    error: str = ""
    graph_fails: bool = False
    start_ms: float = 0.0

    @property
    def walk_ms(self) -> float:
        """What walking through the commits takes, without what a commit-graph cannot save."""
        return max(0.0, (self.now_ms or 0.0) - self.start_ms)

    @property
    def gain_ms(self) -> float:
        """The gain of a summary page by a commit-graph, 0 where that was not measured."""
        if self.now_ms is None or self.graph_ms is None:
            return 0.0
        return WALKS * max(0.0, self.now_ms - self.graph_ms)


@dataclass(frozen=True)
class Histories:
    """The histories that were timed, of the Git repositories that the survey examined."""

    timed: tuple[History, ...] = ()
    total: int = 0

    @property
    def examined(self) -> Examined:
        """How many histories were timed."""
        return Examined(len(self.timed), self.total, "Git repository")

    def of(self, name: str) -> History:
        """Return the history of the repository `name`, without times where it was not timed."""
        return next((item for item in self.timed if item.name == name), History(name))


@measurement(
    seconds=HISTORY_SECONDS,
    writes="the system's temporary directory",
    needs=("database",),
    uses=(survey,),
    decided_by=("sqlalchemy.*", "git_path", "git_rev_filter"),
)
def histories(context: Context) -> Histories:
    """Time how git lists the histories of the untidiest and then the largest repositories.

    Raises NotMeasured without a git.
    """
    surveyed = context.measure(survey)
    if not surveyed.git:
        return Histories()
    settings = context.instance.settings
    within = max(0.5, min(HISTORY_SECONDS, context.deadline.left - 0.3))
    with scratch(tempfile.gettempdir()) as directory:
        timed = child.call(
            time_histories,
            within + 8,
            sources=_sources(surveyed),
            directory=directory,
            executable=settings.get("git_path", "").strip() or "git",
            rev_filter=settings.get("git_rev_filter", "").strip() or "--all",
            reader=_reader(),
            within=within,
        )
    return Histories(tuple(timed), len(surveyed.git))


@measurement(needs=("database",), uses=(survey, histories))
def untidy_histories(context: Context) -> Histories:
    """Return the `histories` where a repository is untidy, and measure nothing otherwise."""
    if any(repository.untidy for repository in context.measure(survey).git):
        return context.measure(histories)
    return Histories()


def _sources(surveyed: Survey) -> Sequence[Source]:
    def order(repository: GitRepository) -> tuple[float, bool, int]:
        return -max(repository.untidiness, 1), repository.commit_graph, -repository.bytes

    return [
        Source(repository.name, surveyed.path(repository.name), repository.commit_graph)
        for repository in sorted(surveyed.git, key=order)[:TIMED]
    ]


def _reader() -> str:
    """Return the file of Kallithea's reader of git's output, nothing where its package is
    unknown.
    """
    try:
        return os.path.join(package_directory(), "lib", "vcs", "subprocessio.py")
    except NotMeasured:
        return ""


def time_histories(
    sources: Sequence[Source],
    directory: str,
    executable: str,
    rev_filter: str,
    reader: str,
    within: float,
) -> Sequence[History]:
    """Time the history of each of `sources` in turn, within about `within` seconds; for a child.

    One of those with more revisions than Kallithea's reader (the file `reader`) takes at once is
    also read through that. Raises NotMeasured without a git.
    """
    started = time.monotonic()
    end = started + within * 0.6
    timed: dict[str, History] = {}
    long: list[tuple[int, str, list[str]]] = []
    for number, source in enumerate(sources):
        if time.monotonic() > end:
            break
        place = os.path.join(directory, str(number))
        borrow(source.path, place)
        command = [executable, "--git-dir", place]
        command += ["rev-list", rev_filter, "--reverse", "--date-order"]
        try:
            timed[source.name], length = _timed(source, command, place, end)
        except Broken as error:
            fails = _succeeds(_without_graph(command), end)
            timed[source.name] = History(source.name, error=str(error), graph_fails=fails)
        except programs.TooLate as error:
            history = History(source.name, now_ms=error.seconds * 1000, late=True)
            timed[source.name] = replace(history, start_ms=_start(command, history, end))
        else:
            long += [(length, source.name, command)] * (length > READER_BYTES)
    if long:
        # The sooner git is done, the more surely the reader stumbles: the shortest of the long
        # histories shows it best.
        _, name, command = min(long)
        waits = waits_of(reader, command, started + within)
        timed[name] = replace(timed[name], waits_ms=tuple(waits))
    return tuple(timed.values())


def borrow(path: str, place: str) -> None:
    """Make a repository at `place` that has the objects and refs of the one at `path`, but none of
    its configuration.
    """
    os.makedirs(os.path.join(place, "objects", "info"))
    os.mkdir(os.path.join(place, "refs"))
    content = {
        "HEAD": os.fsencode(text(path, "HEAD", 1000)),
        "objects/info/alternates": git_names.quoted(os.path.join(path, "objects")) + b"\n",
        "config": b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
        # git would sort them each time without the first line.
        "packed-refs": b"# pack-refs with: sorted \n"
        + b"".join(
            b"%s %s\n" % (value.encode("ascii", "replace"), name)
            for name, value in sorted(
                (os.fsencode(name), value) for name, value in object_names(path).items()
            )
        ),
    }
    for name, data in content.items():
        with open(os.path.join(place, name), "wb") as file:
            file.write(data)


def _timed(source: Source, command: Sequence[str], place: str, end: float) -> tuple[History, int]:
    """Time `command` in turn without and with a commit-graph in `place`; return that, and the bytes
    of its output.
    """
    first, output = _run(command, end)
    if time.monotonic() + first / 1000 < end:
        # Now its files are in memory, as they are while people view pages.
        first, output = _run(command, end)
    history = History(source.name, output.count(b"\n"), first)
    # Writing a graph takes about three times as long as listing; there must be time for the
    # listings after it, too.
    if source.commit_graph:
        return history, len(output)
    if time.monotonic() + first / 1000 * 5 > end:
        return replace(history, start_ms=_start(command, history, end)), len(output)
    graph = os.path.join(place, "objects", "info", "commit-graph")
    _run([*command[:3], "commit-graph", "write", "--reachable", "--no-progress"], end)
    without: list[float] = []
    with_graph: list[float] = []
    while len(without) < ROUNDS and (
        not without or time.monotonic() + (without[-1] + with_graph[-1]) / 1000 < end
    ):
        with_graph.append(_run(command, end)[0])
        os.rename(graph, graph + ".aside")
        without.append(_run(command, end)[0])
        os.rename(graph + ".aside", graph)
    now_ms, graph_ms = statistics.median(without), statistics.median(with_graph)
    return replace(history, now_ms=now_ms, graph_ms=graph_ms), len(output)


def _start(command: Sequence[str], history: History, end: float) -> float:
    """Return the milliseconds that git takes before it walks; all where it does not get there.

    A wrapper around git may be slow, or so many refs that reading them takes longest.
    """
    try:
        return _run([*command[:4], "--no-walk", command[4]], end)[0]
    except (Broken, programs.TooLate):
        return history.now_ms or 0.0


def _without_graph(command: Sequence[str]) -> list[str]:
    return [command[0], "-c", "core.commitGraph=false", *command[1:]]


def _succeeds(command: Sequence[str], end: float) -> bool:
    try:
        _run(command, end)
    except (Broken, programs.TooLate):
        return False
    return True


def _run(command: Sequence[str], end: float) -> tuple[float, bytes]:
    """Run git and return the milliseconds and its output.

    Raises Broken with git's message when it fails, TooLate when it takes too long,
    NotMeasured without a git.
    """
    try:
        result = programs.run(command, max(0.5, end - time.monotonic()), variables=ENGLISH)
    except OSError as error:
        raise NotMeasured(f"{command[0]}: {error.strerror}") from None
    if result.status:
        lines = result.errors.decode("utf-8", "replace").strip().splitlines()
        raise Broken(shortened(lines[0]) if lines else f"git ended with status {result.status}")
    return result.ms, result.output


class _Chunker(Protocol):
    """The part of Kallithea's SubprocessIOChunker that is used here."""

    output: Iterable[bytes]

    def close(self) -> None: ...


def waits_of(reader: str, command: Sequence[str], end: float) -> list[float]:
    """Return how many milliseconds longer each of several runs of `command` takes through
    Kallithea's reader.

    `FEW_RUNS` or the first long wait end them at `end` of the monotonic clock; see `RUNS` for more
    time than that. `reader` is the file of its module, loaded alone: it imports nothing of
    Kallithea. Empty when it is of another kind.
    """
    chunker = _chunker(reader)
    waits: list[float] = []
    waited = False
    while (
        chunker
        and len(waits) < (RUNS if waited else RUNS_WITHOUT)
        and (time.monotonic() < end or (len(waits) < FEW_RUNS and not waited))
    ):
        bare, output = _run(command, max(end, time.monotonic() + 2))
        began = time.perf_counter()
        process = chunker(list(command), env={**programs.environment(), **ENGLISH})
        same = b"".join(process.output) == output
        process.close()
        if not same:
            return []
        waits.append(max(0.0, (time.perf_counter() - began) * 1000 - bare))
        waited = max(waits) >= LONG_WAIT_MS
    return waits


def _chunker(reader: str) -> Optional[Callable[..., _Chunker]]:
    if not os.path.isfile(reader):
        return None
    spec = importlib.util.spec_from_file_location("reader", reader)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:
        return None
    chunker: Optional[Callable[..., _Chunker]] = getattr(module, "SubprocessIOChunker", None)
    return chunker
