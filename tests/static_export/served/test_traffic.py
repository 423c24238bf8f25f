"""Clones and pushes by the real hg and git through each proxy: nothing is kept back, on the disk or
in memory.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from servers.application import BIN, QUIET, Kallithea, instance_for_traffic, run
from servers.large import PIECE, commit_git, init_git, write_pieces
from servers.tap import Tap

SERVERS = ("apache", "caddy", "haproxy", "lighttpd", "nginx")
PIECES = 25
SIZE = PIECE * PIECES
# More than the kernel's buffers of the sockets between client and server hold: up to 32 MB each
# (net.ipv4.tcp_rmem), of which 28 MB in all were seen.
PASSED = SIZE * 0.7
GROWN = SIZE / 5
LARGEST = 1 << 20  # a file that a proxy may write: no part of a clone that is worth talking of
ACCOUNT = "admin:demo-password@"


@pytest.fixture(scope="module")
def large(pristine, built, programs, tmp_path_factory):
    """A Kallithea with a Mercurial and a Git repository of 100 MB that does not compress, and their
    local clones.
    """
    directory = tmp_path_factory.mktemp("large")
    ini = instance_for_traffic(pristine, directory / "instance", "")
    repositories = directory / "instance" / "repos"
    programs("hg", "init", directory / "hg", cwd=directory)
    init_git(directory / "git")
    write_pieces([directory / "hg", directory / "git"], PIECES)
    programs("hg", "commit", "-A", "-q", "-m", "All", cwd=directory / "hg")
    commit_git(directory / "git")
    programs("hg", "clone", "-q", "-U", directory / "hg", repositories / "hg-large", cwd=directory)
    programs(
        "git", "clone", "-q", "--bare", directory / "git", repositories / "git-large", cwd=directory
    )
    for name in (*SERVERS, "naive"):
        programs("hg", "init", repositories / ("hg-" + name), cwd=directory)
        programs(
            "git",
            "init",
            "-q",
            "--bare",
            "-b",
            "master",
            repositories / ("git-" + name),
            cwd=directory,
        )
    many_heads(programs, repositories)
    programs(BIN / "kallithea-cli", "repo-scan", "-c", ini, cwd=directory)
    server = Kallithea(ini, built)
    try:
        server.start()
        server.clones = directory
        yield server
    finally:
        server.remove()


def many_heads(programs, repositories):
    """Make repositories with 300, 1,000 and 3,000 heads over the same root: hg names each when it
    pulls.
    """
    for heads in (0, 300, 1000, 3000):
        directory = repositories / ("heads-%d" % heads)
        programs("hg", "init", directory, cwd=repositories)
        programs("hg", "debugbuilddag", "+1:r " + "<r+1 " * heads, cwd=directory)


@pytest.fixture
def tap(large):
    relay = Tap(large.port)
    yield relay
    relay.close()


def peak(pid):
    """Return the most memory (bytes) that the processes of a server have had resident, taken
    together.
    """
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, universal_newlines=True
    ).stdout.split()
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/%d/status" % pid).read_text())
    return (int(found[1]) * 1024 if found else 0) + sum(peak(int(child)) for child in children)


def passed_while_paused(tap, way, words, cwd):
    """Pause a client after its first 2 MB; return what passes meanwhile. In the end, all has."""
    before = getattr(tap, way)
    passed = tap.passed_beyond(
        way, 2_000_000, [str(word) for word in words], cwd=str(cwd), env=QUIET
    )
    assert getattr(tap, way) - before >= SIZE
    return passed


def transfers(server, name, large, target):
    """Yield a name, the way that the content goes, and the words of each client."""
    url = server.url.replace("//", "//" + ACCOUNT)
    yield "git clone", "down", ["git", "clone", "-q", url + "/git-large", target / "git"]
    yield "hg clone", "down", ["hg", "clone", "-q", "-U", url + "/hg-large", target / "hg"]
    run(BIN / "hg", "init", target / "pulled", cwd=target)
    yield "hg pull", "down", ["hg", "-R", target / "pulled", "pull", "-q", url + "/hg-large"]
    yield (
        "git push",
        "up",
        ["git", "-C", large.clones / "git", "push", "-q", url + "/git-" + name, "master"],
    )
    yield "hg push", "up", ["hg", "-R", large.clones / "hg", "push", "-q", url + "/hg-" + name]


@pytest.mark.parametrize("name", SERVERS)
def test_clones_and_pushes_pass_as_they_come(name, large, tap, web_server, programs, tmp_path):
    server = web_server(
        name, large.ini, "--backend", "http://127.0.0.1:%d" % tap.port, largest_file=LARGEST
    )
    memory = peak(server.pid)
    for title, way, words in transfers(server, name, large, tmp_path):
        backend = peak(large.pid)
        passed = passed_while_paused(tap, way, words, tmp_path)
        more = [peak(server.pid) - memory, peak(large.pid) - backend]
        print(
            "{}: {}: {:.1f} of {:.1f} MB passed while the client paused; "
            "proxy {:+.1f} MB, Kallithea {:+.1f} MB".format(
                name, title, *(size / 1e6 for size in (passed, SIZE, *more))
            )
        )
        # What passed is in the buffers of sockets, the smallest part being the proxy's own.
        assert passed < PASSED, title
    assert peak(server.pid) - memory < GROWN
    large_git, large_hg = large.clones / "git", large.clones / "hg"
    assert programs("git", "rev-parse", "master", cwd=tmp_path / "git") == programs(
        "git", "rev-parse", "master", cwd=large_git
    )
    assert programs("hg", "log", "-T", "{node}", cwd=tmp_path / "hg") == programs(
        "hg", "log", "-T", "{node}", cwd=large_hg
    )
    programs("git", "fsck", "--strict", cwd=tmp_path / "git")
    programs("hg", "verify", "-q", cwd=tmp_path / "hg")


def test_a_naive_nginx_takes_a_whole_clone_in_before_the_client_has_read_it(
    large, tap, web_server, tmp_path
):
    def naive(text):
        assert "proxy_buffering off;" in text and "proxy_request_buffering off;" in text
        return text.replace("proxy_buffering off;", "").replace("proxy_request_buffering off;", "")

    server = web_server(
        "nginx", large.ini, "--backend", "http://127.0.0.1:%d" % tap.port, change=naive
    )
    for title, way, words in transfers(server, "naive", large, tmp_path):
        if title != "hg push":  # which sends all once more after it was asked who it is
            assert passed_while_paused(tap, way, words, tmp_path) >= SIZE, title


# The most heads that a server's limit lets through as written, of those tried.
HEADS = {"apache": 3000, "caddy": 3000, "haproxy": 3000, "lighttpd": 1000, "nginx": 3000}
LIMITS = re.compile(
    r"(?m)^\s*(LimitRequest(Fields|FieldSize|Line) .*|large_client_header_buffers .*|tune\..*"
    r"|server.max-request-field-size .*)\n"
)
# What is too much for the server's own limit. Caddy's is a megabyte.
TOO_MANY = {"apache": 3000, "haproxy": 1000, "lighttpd": 300, "nginx": 1000}


def pull(url, heads, programs, large, tmp_path):
    clone = tmp_path / ("heads-%d" % heads)
    programs("hg", "clone", "-q", large.ini.parent / "repos" / "heads-0", clone, cwd=tmp_path)
    programs("hg", "pull", "-q", "%s/heads-%d" % (url, heads), cwd=clone)
    assert len(programs("hg", "heads", "-T", "x", cwd=clone)) == heads


@pytest.mark.parametrize("name", SERVERS)
def test_hg_pulls_from_a_repository_of_many_heads(name, large, web_server, programs, tmp_path):
    server = web_server(name, large.ini, "--backend", "http://127.0.0.1:%d" % large.port)
    for heads in (300, 1000, 3000):
        if heads <= HEADS[name]:
            pull(server.url, heads, programs, large, tmp_path)


@pytest.mark.parametrize("name", sorted(TOO_MANY))
def test_the_servers_own_header_limit_refuses_such_a_pull(
    name, large, web_server, programs, tmp_path
):
    def naive(text):
        assert LIMITS.search(text)
        return LIMITS.sub("", text)

    server = web_server(
        name, large.ini, "--backend", "http://127.0.0.1:%d" % large.port, change=naive
    )
    with pytest.raises(AssertionError, match="HTTP Error 4|Bad [Rr]equest|Too Large"):
        pull(server.url, TOO_MANY[name], programs, large, tmp_path)
