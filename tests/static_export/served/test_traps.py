"""Configurations that look right and are not: each fails what the one written by static-export
passes.
"""

from __future__ import annotations

import http.client
import os
import re
from pathlib import Path

import pytest
from servers.site import export, site_for, started, write_public
from servers.web import WebServer

from kallithea_tune.static_export.verify import files as verify
from kallithea_tune.static_export.verify import lives
from kallithea_tune.static_export.webservers import render, render_script


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture
def served(public, application):
    """Start a server with what is written for it, or with that `change`d; a text that is gone must
    have been there.
    """
    running = []

    def call(name, *changes, **more):
        def change(text):
            for old, new in changes:
                assert re.search(old, text), old
                text = re.sub(old, new, text)
            return text

        server, release = started(name, public, application, change=change, **more)
        running.append(server)
        server.release = release
        return server

    yield call
    for server in running:
        server.remove()


def reported(server):
    return {
        problem.message
        for problem in verify.verify(
            server.url, os.path.realpath(str(server.static)), server.release
        )
    }


def test_an_alias_without_the_closing_slash_lets_files_out(served):
    assert reported(served("nginx")) == set()
    naive = reported(
        served(
            "nginx",
            (
                r'(?s)(    location "/" \{.*root ("[^"]*))',
                r'    location /css { alias \2/css/"; }\n\1',
            ),
        )
    )
    assert "serves a file that is not exported" in naive


DEFLATE = ("(?s)^", "AddOutputFilterByType DEFLATE text/css text/javascript\n")
OWN_COMPRESSION = (r"(?m)^ *(SetEnv no-(gzip|brotli) 1|Rewrite.*\n?.*\.gz.*|AddEncoding .*)$", "")


def asked_again(server):
    _, first, body = server.get("/css/style.css", Accept_Encoding="gzip")
    status, _, _ = server.get("/css/style.css", Accept_Encoding="gzip", If_None_Match=first["etag"])
    return first["etag"], first.get("content-encoding"), status, body


def test_apaches_mod_deflate_rewrites_etags(served):
    # As Debian enables it for the whole server: our configuration is not affected.
    etag, coding, status, _ = asked_again(served("apache", DEFLATE))
    assert coding == "gzip" and not etag.endswith('-gzip"') and status == 304
    naive = served("apache", DEFLATE, OWN_COMPRESSION)
    etag, coding, status, _ = asked_again(naive)
    assert coding == "gzip" and etag.endswith('-gzip"')
    # The plain file's name for the same content is another one, although it is what lies on the
    # disk.
    _, plain, _ = naive.get("/css/style.css")
    assert plain["etag"] != etag


def test_a_variant_has_the_type_of_the_original(served):
    typed = ("(?s)^", "AddType application/x-gzip .gz\n")
    assert reported(served("apache", typed)) == set()
    naive = reported(served("apache", typed, (r"RemoveType .*", "")))
    assert "came as application/x-gzip instead of text/css" in naive


def first_bytes(server, application):
    """Return what a client reads of a clone before the backend may go on, and what the
    backend then reports.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3)
    connection.request(
        "GET",
        "/repo/slow?cmd=getbundle",
        headers={"Host": "localhost", "Accept": "application/mercurial-0.1"},
    )
    try:
        return connection.getresponse().read(5)
    except OSError:
        return b""
    finally:
        connection.close()
        other = http.client.HTTPConnection("127.0.0.1", application.port, timeout=10)
        other.request("GET", "/go")
        other.getresponse().read()


def test_a_lighttpd_that_buffers_holds_a_clone_back(served, application):
    # nginx passes the first bytes on and takes the rest in: see test_traffic.py.
    assert first_bytes(served("lighttpd"), application) == b"first"
    assert (
        first_bytes(served("lighttpd", (r"server.stream-response-body = 2", "")), application)
        == b""
    )


def pushed(server, size):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(
            "POST",
            "/repo/git-receive-pack",
            body=b"x" * size,
            headers={"Host": "localhost", "User-Agent": "git/2.39.5"},
        )
        return connection.getresponse().status
    except ConnectionError:
        # It did not wait for the rest.
        return 413
    finally:
        connection.close()


def test_nginxs_client_max_body_size_cuts_pushes(served):
    assert pushed(served("nginx"), 3_000_000) == 200
    assert pushed(served("nginx", (r"client_max_body_size 0;", "")), 3_000_000) == 413


@pytest.mark.parametrize(
    "name, setting",
    [
        ("apache", r"LimitRequest(Fields|FieldSize|Line) .*"),
        ("haproxy", r"tune\..*"),
        ("lighttpd", r"server.max-request-field-size .*"),
        ("nginx", r"large_client_header_buffers .*"),
    ],
)
def test_headers_as_long_as_those_of_hg_pass(name, setting, served):
    # A pull from a repository of 1,000 heads, as hg 5.8 was seen to send it; more than 2,300 need
    # more than 100 lines.
    lines = 120 if name == "apache" else 43
    sent = {"X-HgArg-%d" % number: "a" * 1000 for number in range(1, lines + 1)}
    assert served(name).get("/repo?cmd=getbundle", **sent)[0] == 200
    assert served(name, (setting, "")).get("/repo?cmd=getbundle", **sent)[0] in (400, 413, 431)


DEBIANS_LIGHTTPD = """
server.modules = ( "mod_access", "mod_magnet", "mod_proxy" )
server.port = {port}
server.document-root = "/nonexistent"
url.access-deny = ( "~", ".inc" )
include "{snippet}"
"""


@pytest.mark.parametrize("line, status", [("", 200), ("url.access-deny = ()\n", 403)])
def test_debians_lighttpd_denies_files_of_repositories(line, status, public, application):
    server = WebServer("lighttpd")
    try:
        site = site_for(server, export(server, public), application)
        snippet, text = server.directory / "kallithea.inc", render("lighttpd", site, True)
        assert line in text
        snippet.write_text(text.replace(line, "") if line else text)
        Path(site.script).write_text(str(render_script("lighttpd", site, True)))
        server.conf.write_text(DEBIANS_LIGHTTPD.format(port=server.port, snippet=snippet))
        server.configured()
        server.start()
        assert server.get("/repo/files/tip/header.inc")[0] == status
    finally:
        server.remove()


def test_any_version_in_the_url_would_nail_an_old_file_down(served):
    def life(server):
        return lives.max_age(server.get("/js/base.js?ver=0.8.0")[1])

    for name in ("apache", "caddy", "lighttpd", "nginx"):
        assert life(served(name)) == 0
    assert life(served("nginx", (r"/.lasting/\$arg_ver", "/.lasting/0.7.0"))) == 31536000
