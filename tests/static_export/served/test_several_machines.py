"""The runbook from one machine to several: three Kallitheas with host names, process ids and
addresses of their own behind HAProxy, with PostgreSQL, RabbitMQ, hg and git.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
import urllib.error
from pathlib import Path

import pytest
from environment import BIN
from servers.application import QUIET, instance_for_traffic
from servers.fleet import Machine, Worker
from servers.pair import api, url
from servers.visitor import Visitor

pytestmark = [pytest.mark.once, pytest.mark.alone]

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "runbooks" / "several-machines.rst").read_text()
BLOCK = re.compile(r"[Aa]s \*(?:root|kallithea)\*[^\n]*(?:\n[^\n]+)*?::\n\n((?: {7}[^\n]*\n|\n)+)")
PAGES = ("/", "/hg-one/changelog", "/git-one/files/tip/", "/_admin/public_journal")


class Load(threading.Thread):
    """A person who opens page after page, and opens once more what failed while a machine died."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.person = Visitor(url)
        self.person.log_in()
        self.pages = self.again = 0
        self.wrong: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Open pages until it is over."""
        while not self.over.is_set():
            for path in PAGES:
                self.pages += 1
                try:
                    page = self.person.get(path)
                except (urllib.error.HTTPError, OSError):
                    self.again += 1
                    try:
                        page = self.person.get(path)
                    except OSError as error:
                        self.wrong.append(f"{path}: {error}")
                        continue
                if "/_admin/logout" not in page:
                    self.wrong.append(f"{path}: logged out")


def walk(block: str, directory: Path, given: str = "", statuses: tuple[int, ...] = (0,)) -> str:
    """Run a block of the page for an instance that is elsewhere, on loopback."""
    lines = block.strip("\n").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    commands = "\n".join(line[indent:] for line in lines)
    commands = commands.replace("/srv/kallithea", str(directory)).replace("10.0.0.", "127.0.0.")
    done = subprocess.run(
        ["bash", "-ec", commands],
        input=given,
        env=QUIET,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    assert done.returncode in statuses, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def fleet(pristine, built, postgresql, rabbitmq, tmp_path_factory):
    """The three machines, made as the page says."""
    ini = instance_for_traffic(pristine, tmp_path_factory.mktemp("machines") / "instance", "")
    directory = ini.parent
    (directory / "url").write_text(postgresql.url("machines") + "\n")
    (directory / "url").chmod(0o600)
    walk(f"{BIN}/gearbox db-migrate -c {ini} --to file:{directory}/url --switch -y", directory)
    broker, copies, compare, _ = BLOCK.findall(PAGE)
    walk(broker, directory, rabbitmq.url + "\n")
    walk(copies, directory)
    inis = [directory / f"web{number}.ini" for number in (1, 2, 3)]
    machines = [Machine(ini, built, number) for number, ini in enumerate(inis, 1)]
    try:
        for machine in machines:
            machine.start()
        machines[0].comparison = walk(
            # What is measured of one machine has tests of its own.
            compare.replace("perf-check", "perf-check --only scaling --all"),
            directory,
        )
        yield machines
    finally:
        for machine in machines:
            machine.remove()


@pytest.fixture
def balancer(fleet, web_server):
    """HAProxy with the pool of the page."""
    *_, block = BLOCK.findall(PAGE)
    found = re.findall(r"--backend http://10.0.0.1(\d):5000", block)
    assert found == ["1", "2", "3"]
    words = [f"--backend=http://{machine.address}:{machine.port}" for machine in fleet]
    return web_server("haproxy", fleet[0].ini, *words)


def test_the_inis_of_the_page_are_checked_in_one_run(fleet):
    text = fleet[0].comparison
    headings = re.findall(r"(?m)^(web\d\.ini)\n=+$", text)
    assert headings == [machine.ini.name for machine in fleet]
    for agreed in ("sqlalchemy.url, repositories", "session.secret", "cache_dir", "versions"):
        assert len(re.findall(rf"SCA\d+ ok: 3 instances\s+agree on {agreed}", text)) == 3, text
    # The page gives each an address of its own, and nothing else differs.
    assert text.count("must be equal (") == 0 and "address" not in text.partition("Settings by")[2]


def test_machines_die_one_by_one_under_load(fleet, balancer):
    people = [Load(balancer.url) for _ in range(3)]
    for person in people:
        person.start()
    try:
        for machine in fleet:
            machine.stop()
            # The other two do all the work meanwhile.
            wanted = [person.pages + 2 * len(PAGES) for person in people]
            while any(one.pages < pages and one.is_alive() for one, pages in zip(people, wanted)):
                time.sleep(0.1)
            machine.start()
    finally:
        for person in people:
            person.over.set()
        for person in people:
            person.join(120)
    pages, again = sum(one.pages for one in people), sum(one.again for one in people)
    print(f"{pages} pages, {again} opened a second time")
    assert [one.wrong for one in people] == [[], [], []]
    # HAProxy repeats a page that was not begun; the rest of one may be lost with its machine.
    assert pages > len(fleet) and again <= len(people)


@pytest.mark.parametrize("kind", ["git", "hg"])
def test_what_is_pushed_to_one_is_seen_on_all_at_once(kind, fleet, balancer, programs, tmp_path):
    account, work = "http://admin:demo-password@", tmp_path / "work"
    first = fleet[0]
    name = f"{kind}-one"
    programs(kind, "clone", "-q", f"{account}{balancer.url[7:]}/{name}", work, cwd=tmp_path)
    (work / "pushed").write_text(kind)
    subject = f"Pushed to {first.host} by {kind}"
    programs(kind, "add", "pushed", cwd=work)
    programs(kind, "commit", "-q", "-m", subject, cwd=work)
    where = f"{account}{first.address}:{first.port}/{name}"
    programs(kind, "push", "-q", where, *(["HEAD"] if kind == "git" else []), cwd=work)
    for machine in fleet:
        page = Visitor(url(machine))
        page.log_in()
        assert subject in page.get(f"/{name}/changelog"), machine.host
    clone = tmp_path / "clone"
    programs(kind, "clone", "-q", f"{account}{balancer.url[7:]}/{name}", clone, cwd=tmp_path)
    assert (clone / "pushed").read_text() == kind


def test_each_machine_has_a_host_name_of_its_own(fleet):
    seen = {
        subprocess.run(
            ["nsenter", "-t", str(machine.pid), "-u", "hostname"],
            stdout=subprocess.PIPE,
            universal_newlines=True,
        ).stdout.strip()
        for machine in fleet
    }
    assert seen == {"web1", "web2", "web3"} and socket.gethostname() not in seen


def test_a_worker_on_one_machine_carries_out_what_was_requested_on_another(fleet):
    worker = Worker(fleet[1].ini, fleet[1].host)
    worker.start()
    try:
        api(fleet[0], "fork_repo", repoid="hg-one", fork_name="forked")
        give_up = time.monotonic() + 60
        while "forked" not in [repo["repo_name"] for repo in api(fleet[2], "get_repos")]:
            assert time.monotonic() < give_up, worker.log.read_text(errors="replace")
            time.sleep(0.1)
    finally:
        worker.remove()


def test_a_browser_stays_logged_in_while_its_machines_die(fleet, balancer, browser, tmp_path):
    browser.open(balancer.url + "/_admin/login")
    browser.type("#username", "admin")
    browser.type("#password", "demo-password\n")
    inside = "return document.readyState == 'complete' && document.body.innerHTML.indexOf('%s') > 0"
    browser.wait(inside % "/_admin/logout")
    for machine in fleet:
        machine.stop()
        for path in PAGES:
            browser.open(balancer.url + path)
            assert browser.run(inside % "/_admin/logout"), path
        machine.start()
    browser.screenshot(tmp_path / "page.png")
