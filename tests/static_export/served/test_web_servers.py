"""What static-export writes, served by the real web servers."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
from pathlib import Path

import pytest
from servers.site import CODINGS, export, site_for, started, write_public
from servers.web import WebServer

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.options import ServerOptions
from kallithea_tune.static_export.verify import files as verify
from kallithea_tune.static_export.verify import lives
from kallithea_tune.static_export.webservers import SERVERS, render, syntax
from kallithea_tune.static_export.webservers.names import header_name
from kallithea_tune.static_export.webservers.site import Backend, Site

FILES = ("apache", "caddy", "lighttpd", "nginx")
POOLS = ("apache", "caddy", "haproxy", "nginx")


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(
    scope="module",
    params=[(name, prefix) for name in FILES for prefix in ("", "/hosted/kallithea")],
    ids=lambda item: "-".join(item).replace("/", "_"),
)
def web(request, public, application):
    name, prefix = request.param
    server, release = started(name, public, application, prefix=prefix)
    server.prefix, server.release = prefix, release
    yield server
    server.remove()


def test_every_file_comes_as_published_and_nothing_else_comes(web):
    problems = list(
        verify.verify(web.url + web.prefix, os.path.realpath(str(web.static)), web.release)
    )
    assert problems == []


def test_variants_are_negotiated_with_the_type_of_the_original(web):
    for accepted, coding in (
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("identity", None),
    ):
        status, headers, body = web.get(
            web.prefix + "/js/base.js?ver=0.7.0", Accept_Encoding=accepted
        )
        assert (status, headers.get("content-encoding")) == (200, coding), accepted
        assert headers["content-type"].split(";")[0] in (
            "application/javascript",
            "text/javascript",
        )
        assert verify.decoded(body, coding or "identity") == b"function f() {}\n" * 500
        assert (
            "immutable" in headers["cache-control"] and "accept-encoding" in headers["vary"].lower()
        )


def test_only_files_that_belong_to_a_version_may_be_kept_for_long(web):
    def life(path):
        status, headers, _ = web.get(web.prefix + path)
        return status, lives.max_age(headers)

    assert life("/js/base.js?ver=0.7.0") == life("/js/base.js?a=b&ver=0.7.0") == (200, 31536000)
    # A page of a version that is not published yet must not nail this content down.
    for query in (
        "",
        "?ver=",
        "?ver=0.7.1",
        "?ver=0.7.0.1",
        "?ver=.",
        "?ver=..",
        "?ver=../..",
        "?v",
    ):
        assert life("/js/base.js" + query) == (200, 0), query


def test_a_file_that_did_not_change_is_not_sent_again(web):
    _, headers, _ = web.get(web.prefix + "/css/style.css", Accept_Encoding="gzip")
    status, _, body = web.get(
        web.prefix + "/css/style.css", Accept_Encoding="gzip", If_None_Match=headers["etag"]
    )
    assert (status, body) == (304, b"")


def test_everything_else_reaches_the_application_as_it_was_sent(web):
    path = web.prefix + "/repo/changeset/feature%2Fx?a=%20b"
    status, _, body = web.get(path, X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="ftp")
    seen = json.loads(body.decode())
    assert status == 200 and seen["path"] == path
    assert seen["headers"]["x-forwarded-proto"] == "http"
    assert seen["headers"]["host"] == "localhost:%d" % web.port
    assert seen["headers"]["x-forwarded-for"].strip(", ") == "127.0.0.1"


@pytest.mark.parametrize(
    "headers",
    [
        {
            "User_Agent": "mercurial/proto-1.0 (Mercurial 5.8.1)",
            "Accept": "application/mercurial-0.1",
        },
        {"User_Agent": "git/2.39.5", "Accept": "*/*"},
    ],
)
def test_the_first_byte_of_a_clone_arrives_before_the_last_is_made(web, application, headers):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.putrequest(
        "GET", web.prefix + "/repo/slow?cmd=getbundle", skip_accept_encoding=True, skip_host=True
    )
    for name, value in {"Host": "localhost", "Accept-Encoding": "gzip", **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.getheader("Content-Encoding") is None
    assert answer.read(5) == b"first"
    other = http.client.HTTPConnection("127.0.0.1", application.port, timeout=10)
    other.request("GET", "/go")
    other.getresponse().read()
    assert answer.read() == b"released"


def test_a_push_of_any_size_passes_with_headers_as_long_as_hg_sends(web):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    size = 3_000_000
    connection.request(
        "POST",
        web.prefix + "/repo/git-receive-pack",
        body=b"x" * size,
        headers={"Host": "localhost", "User-Agent": "git/2.39.5", "X-HgArg-1": "a" * 30000},
    )
    seen = json.loads(connection.getresponse().read().decode())
    assert seen["size"] == size and len(seen["headers"]["x-hgarg-1"]) == 30000


@pytest.mark.parametrize("name", POOLS)
def test_hg_and_git_go_to_their_own_pool(name, public, application, second):
    server, _ = started(
        name, public, application, vcs=[Backend.from_url("http://127.0.0.1:%d" % second.port)]
    )
    try:
        for path, headers, expected in (
            ("/", {"User_Agent": "Mozilla/5.0"}, application),
            ("/repo/files/tip/git-upload-pack.txt", {}, application),
            ("/repo?cmd=capabilities", {"Accept": "application/mercurial-0.1"}, second),
            ("/repo", {"User_Agent": "mercurial/proto-1.0 (Mercurial 5.8.1)"}, second),
            ("/repo/info/refs?service=git-upload-pack", {"User_Agent": "git/2.39.5"}, second),
            ("/repo/info/refs?service=git-receive-pack", {}, second),
            ("/repo/git-upload-pack", {}, second),
        ):
            status, _, body = server.get(path, **headers)
            assert status == 200, (path, headers)
            seen = json.loads(body.decode())
            assert (seen["port"], seen["path"]) == (expected.port, path), headers
    finally:
        server.remove()


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("sticky", [False, True])
def test_pages_are_shared_out_or_stay_with_one_backend(name, sticky, public, application, second):
    backends = [
        Backend.from_url("http://127.0.0.1:%d" % item.port) for item in (application, second)
    ]
    server = WebServer(name)
    try:
        release = export(server, public)
        site = site_for(server, release, application)
        site = dataclasses.replace(site, backends=backends, sticky=sticky)
        server.conf.write_text(render(name, site, False))
        server.configured()
        server.start()
        seen, cookie = set(), {}
        for _ in range(8):
            _, headers, body = server.get("/", **cookie)
            if "set-cookie" in headers:
                cookie = {"Cookie": headers["set-cookie"].split(";")[0]}
                seen.clear()
            seen.add(json.loads(body.decode())["port"])
        assert len(seen) == (1 if sticky else 2)
    finally:
        server.remove()


@pytest.mark.parametrize("name", sorted(SERVERS))
@pytest.mark.parametrize("snippet", [False, True])
def test_what_is_written_passes_the_servers_own_check_and_is_deterministic(
    name, snippet, application
):
    site = Site(
        "/srv/static",
        ["css", "js"],
        ["LICENSES.txt"],
        CODINGS if SERVERS[name].statics else [],
        [Backend.from_url("http://127.0.0.1:5000")],
        port=61080,
        prefix="/x",
    )
    text = render(name, site, snippet)
    assert text == render(name, site, snippet)
    assert syntax.complaint(SERVERS[name].syntax, text, snippet) == ""
    assert syntax.complaint(SERVERS[name].syntax, text + "\nno such word {\n", snippet)


def test_what_a_server_cannot_do_is_refused():
    site = Site(
        "/srv/static",
        ["css"],
        [],
        [],
        [Backend.from_url("http://127.0.0.1:5000")],
        vcs=[Backend.from_url("http://127.0.0.1:5001")],
    )
    with pytest.raises(ConfigError, match="lighttpd"):
        render("lighttpd", site, False)
    with pytest.raises(ConfigError, match="--snippet-only"):
        render("nginx", site, True)
    for text in ("ftp://x", "http://", "http://u@h:1", "http://h:99999", "x"):
        with pytest.raises(ConfigError, match="--backend"):
            Backend.from_url(text)


def test_header_names_follow_the_wsgi_variables():
    assert header_name("HTTP_X_FORWARDED_FOR", "X") == "X-Forwarded-For"
    assert header_name("", "X-Default") == header_name("REMOTE_ADDR", "X-Default") == "X-Default"


def test_a_server_is_added_by_a_template_and_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, instance: Path
) -> None:
    from kallithea_tune.cli.static_export import StaticExportCommand
    from kallithea_tune.config.instance import load
    from kallithea_tune.static_export import configure, webservers

    (tmp_path / "toy.j2").write_text("serve {{ site.root }} for {{ site.name }}\n")
    monkeypatch.setattr(webservers, "TEMPLATES", [*webservers.TEMPLATES, str(tmp_path)])
    monkeypatch.setitem(webservers.SERVERS, "toy", webservers.Server("toy.j2", str))
    site = Site("/srv/static", ["css"], [], [], [Backend.from_url("http://127.0.0.1:5000")])

    def made() -> configure.Configuration:
        return configure.configure(load(str(instance)), site, ServerOptions(name="toy"))

    assert made().text == "serve /srv/static for kallithea.example.com\n" and made().script is None
    assert any("toy is not installed here" in note for note in made().notes)
    parser = StaticExportCommand(None, None, "static-export").get_parser("gearbox static-export")
    assert parser.parse_args(["-c", "my.ini", "dest", "--server", "toy"]).server == "toy"
    # With a check on that line, the server judges what was written for it: here, grep does.
    for word, accepted in (("serve", True), ("listen", False)):
        check = syntax.Check(
            ("grep",), (word, "{main}"), lambda _, conf, __: Path(conf).read_text()
        )
        monkeypatch.setitem(
            webservers.SERVERS, "toy", webservers.Server("toy.j2", str, syntax=check)
        )
        if accepted:
            assert not any("not installed" in note for note in made().notes)
        else:
            with pytest.raises(Refused, match="toy rejects"):
                made()
