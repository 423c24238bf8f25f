"""Clones through the web server and straight from the application: when the first byte comes."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence
from urllib.parse import quote, urlsplit

from kallithea_tune.app.repositories import latest
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.servers.served import Servers, servers
from kallithea_tune.system import child
from kallithea_tune.system.web import connection_to, host_of

SECONDS = 6.0
ROUNDS = 7
# Of a clone so much is read: what a proxy holds back of it is seen, and more is only work.
MOST_BYTES = 16 << 20
_AGENT = {"User-Agent": "kallithea-tune"}


@dataclass(frozen=True)
class Clone:
    """When the first byte came, and the last or that after `MOST_BYTES`, in milliseconds."""

    first_ms: float
    last_ms: float
    bytes: int


@dataclass(frozen=True)
class Clones:
    """Clones of the latest repository of a kind, each through the web server beside a direct one.

    `failure` is the reason where there are none.
    """

    kind: str
    through: tuple[Clone, ...] = ()
    direct: tuple[Clone, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class ProxiedClones:
    """The clones by kind, none where no web server is set up before the application."""

    proxy: str = ""
    clones: tuple[Clones, ...] = ()

    @property
    def examined(self) -> Examined:
        """The kinds of repositories."""
        done = sum(bool(item.through) for item in self.clones)
        return Examined(done, len(self.clones), "kind of repository")


@measurement(
    seconds=SECONDS,
    needs=["database"],
    uses=(servers,),
    requested=lambda context: context.on_request.clones,
)
def proxied_clones(context: Context) -> ProxiedClones:
    """Clone in turns from canonical_url and from the port of the running server, as anybody may.

    Only where --load allows it, since Kallithea logs each clone. Raises NotMeasured where the
    application does not run, or its port is not known.
    """
    instance = context.instance
    canonical = instance.settings.get("canonical_url", "").strip()
    if not canonical:
        return ProxiedClones()
    port = _port(context.measure(servers))
    if _same(canonical, port):
        return ProxiedClones()
    direct = f"http://127.0.0.1:{port}{instance.prefix}"
    found = latest(instance)
    within = max(1.0, min(SECONDS, context.deadline.left)) / max(1, len(found))
    clones = [
        child.call(
            compared,
            within + 10,
            kind=kind,
            path=quote(name),
            bases=(canonical.rstrip("/"), direct),
            within=within,
        )
        for kind, name in sorted(found.items())
    ]
    return ProxiedClones(host_of(canonical), tuple(clones))


def compared(kind: str, path: str, bases: tuple[str, str], within: float) -> Clones:
    """Clone in turns from both of `bases` until `within` seconds have passed; for a child."""
    end = time.monotonic() + within
    times: tuple[list[Clone], list[Clone]] = ([], [])
    try:
        while len(times[1]) < ROUNDS and (len(times[1]) < 2 or time.monotonic() < end):
            for base, own in zip(bases, times):
                own.append(clone(kind, base, f"/{path}", within))
    except ValueError:
        return Clones(kind, failure="canonical_url is not the address of a web server")
    except (OSError, http.client.HTTPException) as error:
        return Clones(kind, failure=f"no answer to a clone: {error}")
    except NotMeasured as error:
        return Clones(kind, failure=str(error))
    # The first of each fills caches.
    return Clones(kind, tuple(times[0][1:]), tuple(times[1][1:]))


def clone(kind: str, base: str, path: str, within: float) -> Clone:
    """Clone once. Raises NotMeasured for an answer that is no clone, and what a connection does."""
    if kind == "hg":
        heads = _answer(base, path + "?cmd=heads", within)
        nodes = b" ".join(re.findall(rb"[0-9a-f]{40}", heads)).decode("ascii")
        headers = {"X-HgArg-1": f"common={'0' * 40}&heads={nodes.replace(' ', '+')}"}
        return _timed(base, path + "?cmd=getbundle", within, headers)
    refs = _answer(base, path + "/info/refs?service=git-upload-pack", within)
    match = re.search(rb"[0-9a-f]{4}([0-9a-f]{40}) (HEAD|refs/)", refs)
    if not match:
        raise NotMeasured("the repository of Git is empty")
    want = f"want {match.group(1).decode('ascii')} no-progress ofs-delta side-band-64k\n"
    body = f"{len(want) + 4:04x}{want}00000009done\n"
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    return _timed(base, path + "/git-upload-pack", within, headers, body)


def _answer(base: str, target: str, within: float) -> bytes:
    connection = connection_to(base, within, verify=False)
    try:
        return _response(connection, base, target, {}, None).read(MOST_BYTES)
    finally:
        connection.close()


def _response(
    connection: http.client.HTTPConnection,
    base: str,
    target: str,
    headers: Mapping[str, str],
    body: Optional[str],
) -> http.client.HTTPResponse:
    path = urlsplit(base).path.rstrip("/") + target
    connection.request("POST" if body else "GET", path, body, {**_AGENT, **headers})
    response = connection.getresponse()
    if response.status != 200:
        raise NotMeasured(f"{host_of(base)} answers an anonymous clone with {response.status}")
    return response


def _timed(
    base: str, target: str, within: float, headers: Mapping[str, str], body: Optional[str] = None
) -> Clone:
    connection = connection_to(base, within, verify=False)
    try:
        started = time.perf_counter()
        response = _response(connection, base, target, headers, body)
        size = len(response.read(1))
        first = time.perf_counter()
        while size < MOST_BYTES:
            piece = response.read(1 << 16)
            if not piece:
                break
            size += len(piece)
        return Clone((first - started) * 1000, (time.perf_counter() - started) * 1000, size)
    finally:
        connection.close()


def _port(found: Servers) -> int:
    ports: Sequence[int] = sorted(
        {
            port
            for served in found.served
            for worker in (*served.workers, *served.masters)
            for port in worker.ports
        }
    )
    if not found.runs:
        raise NotMeasured("the application was not seen running, so there is no direct clone")
    if not ports:
        raise NotMeasured("the port of the application is not known")
    return ports[0]


def _same(url: str, port: int) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and parts.port == port
    except ValueError:
        return False
