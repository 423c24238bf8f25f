"""Two real Kallitheas behind one proxy, and a third for hg and git: what happens when one is
killed.
"""

from __future__ import annotations

import http.server
import re
import shutil
import signal
import threading
import time
import urllib.error
from typing import ClassVar

import pytest
from servers import raw
from servers.application import Kallithea, instance_for_traffic
from servers.tap import Tap
from servers.visitor import Visitor

from kallithea_tune.static_export.webservers.site import HEALTH

POOLS = ("apache", "caddy", "haproxy", "nginx")
STICKY = ("--balance", "sticky")


@pytest.fixture(scope="module")
def pool(pristine, built, tmp_path_factory):
    """Three processes of one instance: same database, sessions and repositories, ports of their
    own.
    """
    ini = instance_for_traffic(pristine, tmp_path_factory.mktemp("pool") / "instance", "")
    servers = []
    try:
        for number in range(3):
            copy = ini.with_name("process%d.ini" % number)
            shutil.copy(str(ini), str(copy))
            servers.append(Kallithea(copy, built))
            servers[-1].start()
        yield servers
    finally:
        for server in servers:
            server.remove()


def words(servers, option="--backend"):
    return [word for server in servers for word in (option, "http://127.0.0.1:%d" % server.port)]


def process(page):
    """Return which process made a page: its footer names it."""
    return re.search(r"Server instance: \S+-(\d+)", page)[1]


def killed(server):
    server._process.send_signal(signal.SIGKILL)
    server._process.wait(30)
    server._process = None


@pytest.mark.parametrize("balance", [(), STICKY], ids=["round-robin", "sticky"])
@pytest.mark.parametrize("name", POOLS)
def test_a_killed_process_is_not_missed_and_comes_back(name, balance, pool, web_server):
    server = web_server(name, pool[0].ini, *words(pool[:2]), *balance)
    person = Visitor(server.url)
    person.log_in()
    seen = [process(person.get("/")) for _ in range(8)]
    assert len(set(seen)) == (1 if balance else 2)
    down = pool[0] if str(pool[0].pid) in seen else pool[1]
    gone = str(down.pid)
    killed(down)
    try:
        # Not one request fails, and who was logged in still is: the processes share their sessions.
        after = [person.get("/") for _ in range(12)]
        assert gone not in map(process, after) and all("/_admin/logout" in page for page in after)
    finally:
        down.start()
    if not balance:
        wait_for(lambda: process(person.get("/")) == str(down.pid))


def wait_for(true):
    give_up = time.monotonic() + 90
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.5)


@pytest.mark.parametrize("name", POOLS)
def test_real_hg_and_git_never_meet_people(name, pool, web_server, programs, tmp_path):
    pages, vcs = Tap(pool[0].port), Tap(pool[2].port)
    server = web_server(name, pool[0].ini, *words([pages]), *words([vcs], "--vcs-backend"))
    url = server.url.replace("//", "//admin:demo-password@")

    def moved(work):
        # Health checks come every ten seconds, the more often the busier the machine.
        before = len(pages.asked), len(vcs.asked)
        work()
        new = pages.asked[before[0] :], vcs.asked[before[1] :]
        return [[path for path in asked if not path.endswith(HEALTH)] != [] for asked in new]

    def git():
        programs("git", "clone", "-q", url + "/git-one", "git", cwd=tmp_path)
        (tmp_path / "git" / name).write_text(name)
        programs("git", "add", ".", cwd=tmp_path / "git")
        programs("git", "commit", "-q", "-m", name, cwd=tmp_path / "git")
        programs("git", "push", "-q", "origin", "HEAD:refs/heads/" + name, cwd=tmp_path / "git")

    def hg():
        programs("hg", "clone", "-q", url + "/hg-two", "hg", cwd=tmp_path)
        (tmp_path / "hg" / name).write_text(name)
        programs("hg", "commit", "-A", "-q", "-m", name, cwd=tmp_path / "hg")
        programs("hg", "push", "-q", url + "/hg-two", cwd=tmp_path / "hg")
        programs("hg", "pull", "-q", url + "/hg-two", cwd=tmp_path / "hg")

    try:
        assert moved(git) == [False, True]
        assert moved(hg) == [False, True]
        assert moved(lambda: Visitor(server.url).get("/hg-two/changelog")) == [True, False]
    finally:
        pages.close()
        vcs.close()


@pytest.mark.parametrize("name", POOLS)
def test_pages_stay_when_the_pool_of_hg_and_git_is_down(name, pool, web_server, programs, tmp_path):
    nobody = Tap(1)
    nobody.close()
    server = web_server(name, pool[0].ini, *words(pool[:1]), *words([nobody], "--vcs-backend"))
    person = Visitor(server.url)
    assert "hg-one" in person.get("/")
    with pytest.raises(AssertionError, match="50[0-9]"):
        programs("git", "clone", "-q", server.url + "/git-one", "git", cwd=tmp_path)
    with pytest.raises(urllib.error.HTTPError):
        person.get("/git-one/info/refs?service=git-upload-pack")
    assert "hg-one" in person.get("/")


class Dying(http.server.BaseHTTPRequestHandler):
    """Passes health checks, and ends the connection of every other request without an answer."""

    seen: ClassVar["list[str]"] = []

    def do_GET(self):
        if self.path == HEALTH:
            self.send_response(200)
            self.end_headers()
        else:
            self.seen.append(self.command)

    do_POST = do_GET

    def log_message(self, *words):
        pass


def test_haproxy_repeats_what_only_reads_where_a_server_dies_before_it_answers(pool, web_server):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dying) as dying:
        threading.Thread(target=dying.serve_forever, daemon=True).start()
        backend = f"http://127.0.0.1:{dying.server_port}"
        server = web_server("haproxy", pool[0].ini, "--backend", backend, *words(pool[:1]))
        sent = ("Host", "localhost"), ("Content-Length", "0")
        # Each of the two backends gets every second request.
        statuses = {
            method: [raw.send(server.port, f"{method} / HTTP/1.1", *sent).status for _ in range(4)]
            for method in ("POST", "GET")
        }
        dying.shutdown()
    # What may have changed something is sent once; the one that works refuses it without a token.
    assert sorted(statuses["POST"]) == [403, 403, 502, 502] and Dying.seen.count("POST") == 2
    assert statuses["GET"] == [200] * 4 and "GET" in Dying.seen
