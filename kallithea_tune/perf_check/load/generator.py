"""Sends the load and keeps what came back; in a process of its own, whose CPU time is measured.

No generator of the registries does what is needed here: k6 and wrk send requests to one URL and
start no hg and no git; locust could, with gevent and Flask beside Kallithea's pins. What those are
better at, thousands of requests a second, Kallithea's pages are far from.
"""

from __future__ import annotations

import http.client
import itertools
import os
import re
import resource
import shutil
import threading
import time
from dataclasses import dataclass
from typing import Mapping, Sequence
from urllib.parse import quote, urljoin, urlsplit

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.load import clone
from kallithea_tune.perf_check.load.mix import CLONES, Kind
from kallithea_tune.system.web import connection_to

# How long one request is waited for; what takes longer is an error. Ours, as a proxy's default.
PATIENCE_S = 60.0
# A larger repository is not cloned: a level would be one clone, and its clones fill the disk.
MOST_CLONE_BYTES = 50 << 20
# Clients of a server that is gone do not try again at once, either.
PAUSE_S = 0.05
# Enough to see what is wrong.
REASONS = 5
_FILE = re.compile(rb'class="browser-file[^"]*" href="([^"]+)"|href="([^"]+)" class="browser-file')
# How a right answer of a kind begins or ends; a page that was cut off is none.
_FEED, _PAGE = b"<?xml", b"</html>"


@dataclass(frozen=True)
class Survey:
    """The path of each kind of request, by the name of the kind; those of clones have a base only.

    `left_out` says which kinds cannot be sent, and why.
    """

    paths: Mapping[str, str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volley:
    """A load of `deck` at the servers `bases`, from `clients` who each wait for their answer.

    What ends in the first `ramp` seconds is not counted; then it is `seconds` long.
    """

    bases: tuple[str, ...]
    clients: int
    ramp: float
    seconds: float
    deck: tuple[Kind, ...]
    paths: Mapping[str, str]
    directory: str


@dataclass(frozen=True)
class Hits:
    """What came back in time: `rate` of right answers per second, `errors` and some of their
    `reasons`, and `cpu`, the part of one processor that the generator and its clients used.
    """

    rate: float
    latencies_ms: tuple[float, ...]
    requests: int
    errors: int
    cpu: float
    reasons: tuple[str, ...]


def survey(base: str, repositories: Mapping[str, str], directory: str) -> Survey:
    """Find out what can be requested at `base`, and have each of it answered once.

    Raises NotMeasured where not even the front page is answered rightly.
    """
    paths, left_out = {Kind.front.name: "/"}, []
    reason = _wrong(Kind.front, base, "/")
    if reason:
        raise NotMeasured(
            f"the front page is not shown to anonymous visitors: {reason}; the load consists of "
            "what they may see, so measure a copy of the instance where they may read a repository"
        )
    for kind, name in repositories.items():
        path = "/" + quote(name)
        size, reason = clone.first(kind, base + path, directory, PATIENCE_S)
        if reason:
            left_out.append(f"clones of {name}: {reason}")
        elif size > MOST_CLONE_BYTES:
            left_out.append(f"clones of {name}, which has {size >> 20} MB")
        else:
            paths[CLONES[kind].name] = path
        if Kind.summary.name not in paths:
            pages = _pages(base, path)
            wrong = {page: _wrong(Kind[page], base, pages[page]) for page in pages}
            paths.update({page: path for page, path in pages.items() if not wrong[page]})
            left_out += [f"{Kind[page].value}: {wrong[page]}" for page in pages if wrong[page]]
    return Survey(paths, tuple(left_out))


def _pages(base: str, path: str) -> dict[str, str]:
    found = {
        Kind.summary.name: path,
        Kind.changelog.name: f"{path}/changelog",
        Kind.files.name: f"{path}/files/tip/",
        Kind.feed.name: f"{path}/feed/atom",
    }
    _, body = _get(base + found[Kind.files.name])
    link = _FILE.search(body)
    if link:
        file = urlsplit(urljoin(base, (link[1] or link[2]).decode())).path
        # A prefix that the application adds to its links is part of them already.
        inside = file[len(urlsplit(base).path) :]
        found[Kind.raw.name] = inside.replace("/files/", "/raw/", 1)
    return found


def _get(url: str) -> tuple[int, bytes]:
    connection = connection_to(url, PATIENCE_S)
    try:
        parts = urlsplit(url)
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _wrong(kind: Kind, base: str, path: str) -> str:
    """Request a page; return what is wrong with the answer, nothing where it is right."""
    try:
        status, body = _get(base + path)
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    if status != 200:
        return f"status {status} for {path}"
    if kind is Kind.feed:
        right = body.startswith(_FEED)
    else:
        # http.client compares the length of a file with the one that was announced.
        right = kind is Kind.raw or body.rstrip().endswith(_PAGE)
    return "" if right else f"an incomplete answer for {path}"


class _Balancer:
    """Sends a request to the server with the fewest under way, as a load balancer does."""

    def __init__(self, bases: tuple[str, ...]) -> None:
        self._lock, self._under_way = threading.Lock(), dict.fromkeys(bases, 0)

    def take(self) -> str:
        with self._lock:
            base = min(self._under_way, key=lambda item: self._under_way[item])
            self._under_way[base] += 1
            return base

    def give_back(self, base: str) -> None:
        with self._lock:
            self._under_way[base] -= 1


@dataclass
class _Hit:
    """A request that ended: when, after how long, and what was wrong with the answer.

    A clone is at `target`, which is empty for a page.
    """

    kind: Kind
    ended: float
    ms: float
    reason: str
    target: str = ""


def send(volley: Volley) -> Hits:
    """Send the load, verify the clones afterwards, and return what came back."""
    balancer, lock = _Balancer(volley.bases), threading.Lock()
    cards = enumerate(itertools.cycle(volley.deck))
    hits: list[_Hit] = []
    began, used = time.monotonic(), _cpu_s()
    end = began + volley.ramp + volley.seconds

    def client() -> None:
        while time.monotonic() < end:
            with lock:
                number, kind = next(cards)
            hit = _request(volley, balancer, kind, number)
            hits.append(hit)
            if hit.reason:
                time.sleep(PAUSE_S)

    threads = [threading.Thread(target=client) for _ in range(volley.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu = (_cpu_s() - used) / (time.monotonic() - began)
    for hit in hits:
        _verify(hit)
    counted = [hit for hit in hits if hit.ended >= began + volley.ramp]
    return _counted(counted, end, volley, cpu)


def _request(volley: Volley, balancer: _Balancer, kind: Kind, number: int) -> _Hit:
    path, base, target = volley.paths[kind.name], balancer.take(), ""
    began = time.monotonic()
    try:
        if kind in CLONES.values():
            target = os.path.join(volley.directory, f"clone-{number}")
            reason = clone.make(kind.name, base + path, target, PATIENCE_S)
        else:
            reason = _wrong(kind, base, path)
    finally:
        balancer.give_back(base)
    ended = time.monotonic()
    return _Hit(kind, ended, (ended - began) * 1000, reason, target)


def _verify(hit: _Hit) -> None:
    """Turn what is not a right clone into an error, and remove it."""
    if hit.target:
        hit.reason = hit.reason or clone.wrong(hit.kind.name, hit.target, PATIENCE_S)
        shutil.rmtree(hit.target, ignore_errors=True)


def _counted(hits: Sequence[_Hit], end: float, volley: Volley, cpu: float) -> Hits:
    # What ends later belongs to no rate, but what is wrong then is no less wrong.
    inside = [hit for hit in hits if hit.ended <= end]
    right = tuple(hit.ms for hit in inside if not hit.reason)
    reasons = tuple(dict.fromkeys(hit.reason for hit in hits if hit.reason))[:REASONS]
    errors = sum(bool(hit.reason) for hit in hits)
    return Hits(len(right) / volley.seconds, right, len(right) + errors, errors, cpu, reasons)


def _cpu_s() -> float:
    own, clients = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + clients.ru_utime + clients.ru_stime
