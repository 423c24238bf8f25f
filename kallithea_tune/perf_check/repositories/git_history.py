"""Times how git lists a repository's history, as Kallithea has it done twice for each summary page.

git is run on a scratch repository that borrows the objects of the real one by
``objects/info/alternates``, so that nothing it might write (a lock, a cache, a commit-graph) can
reach the real one.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.repositories import git
from kallithea_tune.system.files import Broken

ROUNDS = 3
# Of the output of a command, what Kallithea's reader takes before it stops reading: 18 chunks of
# 4096 bytes.
READER_BYTES = 18 * 4096
# It waits for a whole second when it misses that it has stopped.
LONG_WAIT_MS = 500
# On an idle machine it misses that about every second time, and less often where git has to wait
# for the processor. Once one run waited, five show how often.
RUNS_WITHOUT, RUNS = 12, 5

History = Mapping[str, Any]


def measure_here(
    repositories: Sequence[Mapping[str, Any]],
    directory: str,
    executable: str,
    rev_filter: str,
    reader: str,
    within: float,
) -> dict[str, Any]:
    """Time the history of each repository (``name``, ``path``, ``commit_graph``) in turn; for a
    child process.

    Returns by name: ``revisions``, ``now_ms``; where a repository has no commit-graph and there was
    time, ``graph_ms`` with one; ``error`` where git cannot read it, ``late`` where it took longer.
    ``waits_ms`` is what Kallithea's own reader (the module's file `reader`) adds, for one of those
    with more revisions than it reads at once. Ends within about `within` seconds. Raises
    NotMeasured without a git.
    """
    started = time.monotonic()
    found: dict[str, Any] = {}
    long: list[tuple[int, str, list[str]]] = []
    for number, repository in enumerate(repositories):
        if time.monotonic() > started + within * 0.6:
            break
        place, name = os.path.join(directory, str(number)), repository["name"]
        borrow(repository["path"], place)
        command = [
            executable,
            "--git-dir",
            place,
            "rev-list",
            rev_filter,
            "--reverse",
            "--date-order",
        ]
        try:
            facts, size = _timed(
                command, place, bool(repository["commit_graph"]), started + within * 0.6
            )
        except Broken as error:
            found[name] = {"error": str(error)}
            continue
        except subprocess.TimeoutExpired as error:
            found[name] = {"now_ms": error.timeout * 1000, "late": True}
            continue
        found[name] = facts
        long += [(size, name, command)] * (size > READER_BYTES)
    if long:
        # The faster git is done, the more surely the reader stumbles: the shortest of the long ones
        # shows it best.
        _, name, command = min(long)
        found[name]["waits_ms"] = waits_of(reader, command, started + within)
    return found


def borrow(path: str, place: str) -> None:
    """Make a repository at `place` that has the objects and refs of the one at `path`, and no
    configuration of it.
    """
    os.makedirs(os.path.join(place, "objects", "info"))
    os.mkdir(os.path.join(place, "refs"))
    head = os.path.join(path, "HEAD")
    with open(head, "rb") as source:
        written = {
            "HEAD": source.read(),
            "objects/info/alternates": os.fsencode(os.path.join(path, "objects")) + b"\n",
        }
    written["config"] = b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
    written["packed-refs"] = b"".join(
        b"%s %s\n" % (value.encode("ascii", "replace"), os.fsencode(name))
        for name, value in sorted(git.refs(path).items())
    )
    for name, content in written.items():
        with open(os.path.join(place, name), "wb") as file:
            file.write(content)


def _timed(
    command: Sequence[str], place: str, has_graph: bool, end: float
) -> tuple[dict[str, Any], int]:
    """Time `command` in turn without and with a commit-graph in `place`; return that, and the bytes
    of its output.
    """
    first, output = _run(command, end)
    if time.monotonic() + first / 1000 < end:
        # Now its files are in memory, as they are while people look at pages.
        first, output = _run(command, end)
    facts: dict[str, Any] = {"revisions": output.count(b"\n"), "now_ms": first}
    # Writing a graph takes about three times as long as listing; there must be time for what is
    # timed after it, too.
    if has_graph or time.monotonic() + first / 1000 * 5 > end:
        return facts, len(output)
    graph = os.path.join(place, "objects", "info", "commit-graph")
    _run([*command[:3], "commit-graph", "write", "--reachable", "--no-progress"], end)
    now: list[float] = []
    after: list[float] = []
    while len(now) < ROUNDS and (not now or time.monotonic() + (now[-1] + after[-1]) / 1000 < end):
        after.append(_run(command, end)[0])
        os.rename(graph, graph + ".aside")
        now.append(_run(command, end)[0])
        os.rename(graph + ".aside", graph)
    return {**facts, "now_ms": statistics.median(now), "graph_ms": statistics.median(after)}, len(
        output
    )


def _run(command: Sequence[str], end: float) -> tuple[float, bytes]:
    """Run git and return the milliseconds and its output.

    Raises Broken with git's words when it fails, TimeoutExpired when it takes too long, NotMeasured
    without a git.
    """
    limit = max(0.5, end - time.monotonic())
    began = time.perf_counter()
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=limit,
            env=environment(),
        )
    except OSError as error:
        raise NotMeasured(f"{command[0]}: {error.strerror}") from None
    taken = (time.perf_counter() - began) * 1000
    if result.returncode:
        said = result.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Broken(said[0] if said else "git ended with status %d" % result.returncode)
    return taken, result.stdout


def environment() -> dict[str, str]:
    """Return the environment for a git that is to answer without asking, locking, or heeding what
    is set here.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return dict(kept, GIT_OPTIONAL_LOCKS="0", GIT_TERMINAL_PROMPT="0", LC_ALL="C")


def waits_of(reader: str, command: Sequence[str], end: float) -> list[float]:
    """Return how many milliseconds longer each of several runs of `command` takes through
    Kallithea's reader.

    Three runs or the first long wait end them at `end` of the monotonic clock; see `RUNS` for more
    time than that. `reader` is the file of its module, loaded alone: it imports nothing of
    Kallithea. Empty when it is of another kind.
    """
    chunker = _chunker(reader)
    waits: list[float] = []
    waited = False
    while (
        chunker
        and len(waits) < (RUNS if waited else RUNS_WITHOUT)
        and (time.monotonic() < end or (len(waits) < 3 and not waited))
    ):
        bare, output = _run(command, max(end, time.monotonic() + 2))
        began = time.perf_counter()
        process = chunker(list(command), env=environment())
        same = b"".join(process.output) == output
        process.close()
        if not same:
            return []
        waits.append(max(0.0, (time.perf_counter() - began) * 1000 - bare))
        waited = max(waits) >= LONG_WAIT_MS
    return waits


def _chunker(reader: str) -> Optional[Callable[..., Any]]:
    spec = (
        importlib.util.spec_from_file_location("reader", reader) if os.path.isfile(reader) else None
    )
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:
        return None
    found: Optional[Callable[..., Any]] = getattr(module, "SubprocessIOChunker", None)
    return found
