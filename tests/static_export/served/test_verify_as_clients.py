"""``--verify`` speaks as hg, git and malicious clients do, and finds what they would find."""

from __future__ import annotations

import dataclasses
import re

import pytest
from servers.application import BIN, Kallithea, instance_for_traffic
from servers.server import running
from servers.site import started, write_public
from servers.tap import Tap

from kallithea_tune.app.hg_heads import Heads
from kallithea_tune.config.instance import load
from kallithea_tune.static_export.verify import claims, fall_through, git, hg, hosts, site
from kallithea_tune.static_export.verify.client import Answer, joined
from kallithea_tune.static_export.verify.files import judge_coding
from kallithea_tune.static_export.verify.finding import Note, Problem

PREFIX = "/hosted"
HEADS = 1000
SERVERS = ("apache", "caddy", "haproxy", "lighttpd", "nginx")


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def many(pristine, built, programs, tmp_path_factory):
    """A Kallithea under a prefix, with a repository of many heads."""
    ini = instance_for_traffic(pristine, tmp_path_factory.mktemp("many") / "instance", PREFIX)
    text = ini.read_text()
    # It believes what clients claim, so that only the web server protects it.
    text = text.replace("translate_forwarded_server = false\n", "")
    ini.write_text(
        text.replace("[server:main]\n", "[server:main]\nmax_request_header_size = 600000\n")
    )
    repository = ini.parent / "repos" / "heads"
    programs("hg", "init", repository, cwd=ini.parent)
    programs("hg", "debugbuilddag", "+1:r " + "<r+1 " * HEADS, cwd=repository)
    programs(BIN / "kallithea-cli", "repo-scan", "-c", ini, cwd=ini.parent)
    yield from running(Kallithea(ini, built))


@pytest.fixture
def behind(public, many):
    """Start a server with what is written for it, each `change` a pattern and what replaces it;
    return it and what to try there.
    """
    running = []

    def call(name, *changes):
        def change(text):
            port = re.search(r"(?m)(?:listen|\*:|bind :|server.port = |localhost:)\s*(\d+)", text)[
                1
            ]
            for old, new in changes:
                assert re.search(old, text), old
                text = re.sub(old, new.replace("PORT", port), text)
            return text

        server, release = started(name, public, many, change=change, prefix=PREFIX)
        running.append(server)
        target = site.target_of(
            load(str(many.ini)), server.url + PREFIX, release, "admin:demo-password"
        )
        return server, target

    yield call
    for server in running:
        server.remove()


def problems(findings):
    return [finding.message for finding in findings if isinstance(finding, Problem)]


@pytest.mark.claim("hg, git and browsers find what is written in order, as --verify tries it")
@pytest.mark.parametrize("name", SERVERS)
def test_what_is_written_is_found_good(name, behind):
    server, target = behind(name)
    assert target.heads.by_name["heads"] == HEADS and set(target.repositories) == {"git", "hg"}
    found = problems(site.as_clients(target))
    if name == "lighttpd":
        # Its limit is 64 KB, and a pull of a new head by who has all others needs 83.
        (message,) = found
        assert "headers of 84 KB" in message
    else:
        assert found == []


FIRST = {
    "nginx": (r"(?s)^", "server { listen PORT default_server; server_name _; return 404; }\n"),
    "apache": (r"(?s)^", "<VirtualHost *:PORT>\nServerName other\n</VirtualHost>\n"),
}


@pytest.mark.parametrize("name", sorted(FIRST))
def test_the_limits_of_a_site_that_comes_first_are_found(name, behind):
    server, target = behind(name, FIRST[name])
    # Apache's own limit are 100 lines, for 2,300 heads.
    heads = Heads({"heads": HEADS if name == "nginx" else 3000}, 1)
    target = dataclasses.replace(target, heads=heads)
    (message,) = problems(hg.verify_headers(target))
    assert "400" in message and re.search("comes? first on this port", message)


def test_hg_and_git_agree_with_what_is_said(behind, programs, tmp_path):
    server, target = behind("nginx", FIRST["nginx"])
    account = server.url.replace("//", "//admin:demo-password@") + PREFIX
    assert problems(hg.verify_headers(target))
    with pytest.raises(AssertionError, match="HTTP Error 400"):
        programs("hg", "clone", "-q", "-U", account + "/heads", tmp_path / "no", cwd=tmp_path)
    server, target = behind("nginx")
    account = server.url.replace("//", "//admin:demo-password@") + PREFIX
    assert problems(site.as_clients(target)) == []
    programs("hg", "clone", "-q", "-U", account + "/heads", tmp_path / "yes", cwd=tmp_path)
    assert len(programs("hg", "heads", "-T", "x", cwd=tmp_path / "yes")) == HEADS
    two = ["git", "-c", "protocol.version=2"]
    programs(*two, "clone", "-q", account + "/git-one", tmp_path / "git", cwd=tmp_path)
    programs("git", "fsck", cwd=tmp_path / "git")


IN_SERVER = r"(?m)^(    large_client_header_buffers .*)$"
FAULTS = {
    "short headers nginx": (
        "nginx",
        [(r"large_client_header_buffers .*;", "")],
        "headers of 42 KB",
    ),
    "short headers haproxy": ("haproxy", [(r"tune\..*", "")], "headers of 42 KB"),
    "small bodies": (
        "nginx",
        [("client_max_body_size 0;", "client_max_body_size 1m;")],
        "a push of 2 MB is answered with 413",
    ),
    "no chunks": (
        "nginx",
        [(IN_SERVER, r"\1 if ($http_transfer_encoding) { return 411; }")],
        "a push of 2 MB in chunks is answered with 411",
    ),
    "Expect refused": (
        "nginx",
        [(IN_SERVER, r"\1 if ($http_expect) { return 417; }")],
        "a push with 'Expect: 100-continue' is answered with 417",
    ),
    "Expect dropped": (
        "haproxy",
        [(r"(?m)^(frontend .*)$", r"\1\n    http-request del-header Expect")],
        "a push with 'Expect: 100-continue' is not answered before its body comes",
    ),
    "no bodies that are compressed": (
        "nginx",
        [(IN_SERVER, r"\1 if ($http_content_encoding) { return 415; }")],
        "a fetch of git with a compressed request is answered with 415",
    ),
    "any host": (
        "nginx",
        [
            (r"if \(\$host != [^}]*\}", ""),
            (r"proxy_set_header Host [^;]*;", "proxy_set_header Host $http_host;"),
        ],
        "a request for another host (evil.example) is answered with location: http://evil.example",
    ),
    "Host beside the URL": (
        "nginx",
        [(r"proxy_set_header Host [^;]*;", "proxy_set_header Host $http_host;")],
        "a request whose Host is not that of its URL (evil.example) is answered with location",
    ),
    "a host claimed": (
        "nginx",
        [(r'proxy_set_header X-Forwarded-Host "";', "")],
        "X-Forwarded-Host: evil.example of a client comes back in ",
    ),
    "a scheme claimed": (
        "nginx",
        [(r'proxy_set_header X-Forwarded-Scheme "";', "")],
        "X-Forwarded-Scheme: https of a client makes redirects to https://",
    ),
    "no fall-through": (
        "nginx",
        [(IN_SERVER, rf"\1 location ^~ {PREFIX}/js/ {{ return 404; }}")],
        "a repository group 'js' could not be used",
    ),
    "redirect elsewhere": (
        "nginx",
        [(rf'return 301 "{PREFIX}/', f'return 301 "http://code.example.com{PREFIX}/')],
        "the prefix without a slash is redirected to another site: http://code.example.com",
    ),
    "no redirect": (
        "nginx",
        [(rf'return 301 "{PREFIX}/[^;]*;', "return 403;")],
        "the prefix without a slash is answered with 403",
    ),
}
PROBE = {
    "short": hg.verify_headers,
    "small": git.verify_push,
    "no chunks": git.verify_push,
    "Expect": git.verify_push,
    "no bodies": git.verify_repository,
    "any": hosts.verify_hosts,
    "Host": hosts.verify_hosts,
    "a ": claims.verify_claims,
    "no fall": fall_through.verify_fall_through,
    "redirect": hosts.verify_slash,
    "no redirect": hosts.verify_slash,
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_planted_fault_is_reported(fault, behind):
    name, changes, expected = FAULTS[fault]
    _, target = behind(name, *changes)
    probe = next(PROBE[start] for start in PROBE if fault.startswith(start))
    found = problems(probe(target))
    assert any(expected in message for message in found), found


def test_headers_are_those_that_hg_sends(many, programs, tmp_path):
    tap = Tap(many.port)
    tap.recorded = bytearray()
    url = "http://admin:demo-password@127.0.0.1:%d%s/heads" % (tap.port, PREFIX)
    programs("hg", "clone", "-q", "-U", url, tmp_path / "clone", cwd=tmp_path)
    tap.close()
    (sent,) = [head for head in bytes(tap.recorded).split(b"\r\n\r\n") if b"getbundle" in head]
    lines = [line.split(": ", 1) for line in sent.decode().split("\r\n")[1:]]
    seen = [(name.lower(), len(value)) for name, value in lines if name != "authorization"]
    ours = [
        (name.lower(), len(value))
        for name, value in hg.headers(HEADS + 1, [("Host", "127.0.0.1:%d" % tap.port)])
    ]
    assert [name for name, _ in ours] == [name for name, _ in seen]
    # What hg says about itself differs by a few bytes between versions.
    differences = [abs(one - other) for (_, one), (_, other) in zip(ours, seen)]
    assert max(differences) < 20 and len([size for size in differences if size]) <= 2


def test_what_hg_sends_grows_with_the_heads():
    assert [(heads, nodes) for heads, nodes, _ in hg.sizes(1)] == [(1000, 1001), (5000, 5001)]
    assert [heads for heads, _, _ in hg.sizes(900)] == [1000, 900, 5000]
    assert [heads for heads, _, _ in hg.sizes(3000)] == [1000, 3000]
    first = [name for name, _ in hg.headers(30, [("Host", "x")], host_first=True)]
    assert first[:3] == ["Host", "Accept-Encoding", "Vary"] and "X-HgArg-2" in first
    last = [name for name, _ in hg.headers(30, [("Host", "x")])]
    assert last[-3:] == ["Accept", "Host", "User-Agent"] and sorted(first) == sorted(last)


def test_a_coding_that_no_file_has_is_a_note_and_a_missing_one_a_problem():
    (note,) = judge_coding("zstd", ["a.css", "b.css", "a.css?ver=1"], negotiated=False)
    assert isinstance(note, Note) and "never sends zstd, so 2 variants" in note.text
    (problem,) = judge_coding("zstd", ["a.css"], negotiated=True)
    assert problem == Problem(
        "/a.css", "zstd", "came uncompressed although there is a zstd variant"
    )
    # Every server can.
    assert isinstance(next(judge_coding("gzip", ["a.css"], negotiated=False)), Problem)
    assert not list(judge_coding("gzip", [], negotiated=False))


@pytest.mark.parametrize(
    "status, location, expected",
    [
        (301, "/hosted/", ""),
        (308, "https://code.example.com/hosted/", ""),
        (302, "http://code.example.com/hosted/", "another site"),
        (301, "https://code.example.com:8443/hosted/", "another site"),
        (301, "//evil.example/hosted/", "another site"),
        (301, "/", "is redirected to /"),
        (404, "", "answered with 404"),
        (0, "", "left without a response"),
        (200, "", ""),
    ],
)
def test_a_redirect_to_the_slash_stays_on_the_site(status, location, expected):
    answer = Answer(status, {"location": location} if location else {}, b"")
    message = hosts.judge_slash(answer, "https://code.example.com/hosted")
    assert expected in message and bool(expected) == bool(message)


def test_a_header_that_comes_twice_is_kept_twice():
    lines = [("Vary", "Accept-Encoding"), ("Server", "x"), ("vary", "Accept-Encoding")]
    assert joined(lines) == {"vary": "Accept-Encoding, Accept-Encoding", "server": "x"}


def test_a_page_that_always_has_the_word_claims_nothing():
    page = Answer(200, {}, b"a repository about evil.example")
    assert hosts.reflected(page, page) == ""
    assert "links to" in hosts.reflected(page, Answer(200, {}, b""))
    moved = Answer(302, {"location": "http://evil.example/"}, b"")
    assert "location" in hosts.reflected(moved, moved)
    assert claims.difference(Answer(200, {}, b""), Answer(400, {}, b"")) == (
        "is answered with 400 instead of 200"
    )
