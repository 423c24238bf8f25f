"""Fifty clients request files without a pause during upgrades: no response mixes two releases."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
from pathlib import Path

import pytest
from servers.web import WebServer

from kallithea_tune.static_export.release import destination, publish
from kallithea_tune.static_export.release.manifest import Recipe
from kallithea_tune.static_export.release.plan import Served, make
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.verify import files as verify
from kallithea_tune.static_export.webservers import render, render_script
from kallithea_tune.static_export.webservers.site import Backend, Site

CLIENTS, SWAPS = 50, 10
CODINGS = ["gzip"]
# One that fits into a packet, one that a server reads at once, one that it sends piece by piece.
LINES = {"css/small.css": 40, "js/middle.js": 3000, "js/large.js": 20000}


def write_release(root: Path, number: int) -> None:
    for path, lines in LINES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        # Different content for each, of sizes that differ when compressed, too.
        chance = random.Random(number)
        noise = (
            "/* release %03d %08x */\n" % (number, chance.getrandbits(32))
            for _ in range(lines + number * 7)
        )
        (root / path).write_text("".join(noise))


class Clients:
    """Fifty threads that fetch the files in turn over keep-alive connections, half of them
    compressed.
    """

    def __init__(self, server: WebServer) -> None:
        self._server, self._stop = server, threading.Event()
        self.wrong: list[str] = []
        self.answers: set[tuple[str, str, str, str]] = (
            set()
        )  # path, coding, ETag, SHA-256 of the decoded body
        self.count = 0
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, number: int) -> None:
        paths = list(LINES)
        coding = "gzip" if number % 2 else "identity"
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        while not self._stop.is_set():
            number += 1
            path = paths[number % len(paths)]
            try:
                connection.request(
                    "GET", "/" + path, headers={"Host": "localhost", "Accept-Encoding": coding}
                )
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{path}: {error!r}")
                connection.close()
                continue
            self.count += 1
            if answer.status != 200:
                self.wrong.append("%s: %d" % (path, answer.status))
                continue
            got = answer.getheader("Content-Encoding", "identity")
            plain = verify.decoded(body, got)
            self.answers.add(
                (path, got, answer.getheader("ETag", ""), hashlib.sha256(plain).hexdigest())
            )
        connection.close()


@pytest.fixture(params=["apache", "caddy", "lighttpd", "nginx"])
def server(request, tmp_path):
    found = WebServer(request.param)
    yield found
    found.remove()


def swap(server: WebServer, public: Path, number: int) -> dict[str, str]:
    write_release(public, number)
    before = destination.published(str(server.static))
    files = collect([str(public)], {})
    served = Served("kallithea", str(number), (str(public),), files)
    publish.publish(make(before, served, Recipe(codings=tuple(CODINGS))), str(server.static))
    return {path: item.sha256 for path, item in files.items()}


# Alone, since a server may close the connection of a client that other tests keep from its turn.
@pytest.mark.alone
def test_no_error_and_no_mixed_answer_while_releases_are_swapped(server, tmp_path):
    public = tmp_path / "public"
    released = [swap(server, public, 0)]
    site = Site(
        root=str(server.static),
        directories=["css", "js"],
        files=[],
        codings=CODINGS,
        name="localhost",
        backends=[Backend.from_url("http://127.0.0.1:9")],
        port=server.port,
        script=str(server.conf) + ".lua" if server.name == "lighttpd" else "",
    )
    server.conf.write_text(render(server.name, site, False))
    script = render_script(server.name, site)
    if script:
        Path(site.script).write_text(script)
    server.configured()
    server.start()
    with Clients(server) as clients:
        for number in range(1, SWAPS + 1):
            released.append(swap(server, public, number))
            target = clients.count + 4 * CLIENTS
            while clients.count < target and not clients.wrong:
                threading.Event().wait(0.01)
    assert clients.wrong == []
    complete = {(path, digest) for release in released for path, digest in release.items()}
    mixed = [seen for seen in clients.answers if (seen[0], seen[3]) not in complete]
    assert mixed == []
    assert (
        len({digest for path, _, _, digest in clients.answers if path == "css/small.css"})
        > SWAPS // 2
    )
    stale = [
        seen
        for seen in clients.answers
        if is_current(server, *seen[:3]) and seen[3] != released[-1][seen[0]]
    ]
    assert stale == []


def is_current(server: WebServer, path: str, coding: str, tag: str) -> bool:
    """Tell whether the server says of a kept answer that it is still good."""
    status, _, _ = server.get("/" + path, Accept_Encoding=coding, If_None_Match=tag)
    return status == 304
