"""What an administrator who knows a web server would look for in its configuration, besides TLS."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers.raw import send
from servers.server import free_port
from servers.site import export, site_for, started, write_public
from servers.web import WebServer

from kallithea_tune.static_export.webservers import render, render_script

FILES = ("apache", "caddy", "lighttpd", "nginx")
SERVERS = ("apache", "caddy", "haproxy", "lighttpd", "nginx")
PREFIX = "/hosted"
EVIL = "evil.example"
FILE = PREFIX + "/js/base.js"
BELOW = PREFIX + "/js/lib/git-receive-pack"  # a repository's URL below an exported directory
VERSIONS = re.compile(
    r"\b(?:nginx|apache|caddy|lighttpd|haproxy|openssl|lua)[/ ]*\(?v?\d", re.IGNORECASE
)
HSTS = ("strict-transport-security", "max-age=600")
FRAMES = ("x-frame-options", "DENY")
# Where an administrator sets headers in a site of their own, around the snippet.
SURROUNDINGS = {
    "apache": """<VirtualHost *:{port}>
        ServerName localhost
        Header always set Strict-Transport-Security "max-age=600"
        Header set X-Frame-Options DENY
        Include {snippet}
    </VirtualHost>
    """,
    "caddy": """http://localhost:{port} {{
        header Strict-Transport-Security "max-age=600"
        header X-Frame-Options DENY
        import {snippet}
    }}
    """,
    "lighttpd": """
    server.modules = ( "mod_access", "mod_setenv", "mod_magnet", "mod_proxy" )
    server.port = {port}
    server.document-root = "/nonexistent"
    setenv.set-response-header = (
        "Strict-Transport-Security" => "max-age=600", "X-Frame-Options" => "DENY"
    )
    include "{snippet}"
    """,
    "nginx": """server {{
        listen {port};
        server_name localhost;
        add_header Strict-Transport-Security "max-age=600" always;
        add_header X-Frame-Options DENY;
        location ~ /js/base {{
            return 404;
        }}
        include {snippet};
    }}
    """,
}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module", params=SERVERS)
def web(request, public, application):
    server, _ = started(request.param, public, application, prefix=PREFIX)
    yield server
    server.remove()


@pytest.fixture(scope="module", params=FILES)
def surrounded(request, public, application):
    """A server with the snippet in a site of the administrator's."""
    server = WebServer(request.param)
    try:
        release = export(server, public)
        site = site_for(server, release, application, prefix=PREFIX)
        snippet = server.directory / "kallithea.inc"
        snippet.write_text(render(server.name, site, True))
        script = render_script(server.name, site)
        if script:
            Path(site.script).write_text(script)
        conf = SURROUNDINGS[server.name].format(port=server.port, snippet=snippet)
        server.conf.write_text(conf)
        server.configured()
        server.start()
        yield server
    finally:
        server.remove()


def request(web, line, host=None, *headers):
    host = ("Host", host or "localhost:%d" % web.port)
    return send(web.port, line + " HTTP/1.1", host, ("Connection", "close"), *headers)


@pytest.mark.claim("The prefix without its slash redirects relatively")
def test_the_prefix_alone_redirects_relatively(web):
    response = request(web, "GET " + PREFIX)
    assert response.status in (301, 302, 307, 308)
    assert response.values("location") == [PREFIX + "/"]
    assert request(web, f"GET {PREFIX}x").status in (200, 404)


@pytest.mark.claim("Requests for other hosts are answered, and Kallithea makes no links to them")
@pytest.mark.parametrize(
    "line, host",
    [
        (f"GET {PREFIX}/repo", EVIL),
        (f"GET {PREFIX}/repo", EVIL + ":80"),
        (f"GET {PREFIX}", EVIL),
        (f"GET {PREFIX}/repo", "localhost." + EVIL),
        (f"GET http://{EVIL}{PREFIX}/repo", "localhost"),
        (f"GET http://{EVIL}{PREFIX}/repo", EVIL),
    ],
    ids=["host", "port", "redirect", "suffix", "absolute", "both"],
)
def test_other_hosts_are_answered_and_not_linked_to(line, host, web):
    response = request(web, line, host)
    assert EVIL not in str(response.headers)
    if response.status == 200:
        # As the site itself, then.
        assert EVIL not in json.dumps(json.loads(response.body.decode())["headers"])
    else:
        assert response.status in (301, 308, 400, 403, 404, 421)


@pytest.mark.claim("Files are for GET and HEAD; what is not a file gets every method")
@pytest.mark.parametrize("web", FILES, indirect=True)
def test_files_are_read_only(web):
    for path in (FILE, FILE + "?ver=0.7.0"):
        for method in ("GET", "HEAD"):
            assert request(web, f"{method} {path}").status == 200, method
        for method in ("DELETE", "OPTIONS", "PATCH", "POST", "PROPFIND", "PUT"):
            length = [] if method == "OPTIONS" else [("Content-Length", "0")]
            assert request(web, f"{method} {path}", None, *length).status == 405, method
    connection = http.client.HTTPConnection("localhost", web.port, timeout=30)
    connection.request("POST", BELOW, body=b"x" * 3_000_000)
    seen = json.loads(connection.getresponse().read().decode())
    connection.close()
    assert (seen["path"], seen["size"]) == (BELOW, 3_000_000)


@pytest.mark.claim("TRACE is refused")
def test_trace_is_refused(web):
    for path in (FILE, PREFIX + "/repo"):
        response = request(web, f"TRACE {path}", None, ("X-Secret", "cookie"))
        assert response.status in (403, 405, 501) and b"cookie" not in response.body, path


@pytest.mark.claim("No response contains a version number of the web server")
@pytest.mark.parametrize("name", SERVERS)
def test_no_version_number_is_shown(name, public):
    server, _ = started(name, public, SimpleNamespace(port=free_port()), prefix=PREFIX)
    try:
        statuses = set()
        for line, host, *headers in (
            (f"GET {FILE}", None),
            (f"GET {PREFIX}", None),
            (f"POST {FILE}", None, ("Content-Length", "0")),
            (f"TRACE {FILE}", None),
            ("GET /elsewhere", None),
            (f"GET {PREFIX}/repo", None),
            (f"GET {PREFIX}/repo", EVIL),
            (f"GET {PREFIX}/repo", None, ("Content-Length", "x")),
            ("GET nonsense", None),
        ):
            response = request(server, line, host, *headers)
            statuses.add(response.status)
            text = str(response.headers) + response.body.decode("utf-8", "replace")
            assert not VERSIONS.search(text), (line, text)
        assert statuses & {502, 503} and 400 in statuses
    finally:
        server.remove()


@pytest.mark.claim("Headers that the surrounding site sets are not lost, nor sent twice")
def test_headers_of_the_surrounding_site_stay(surrounded):
    for path, ours in (
        (FILE, "public, max-age=0, must-revalidate"),
        (FILE + "?ver=0.7.0", "public, max-age=31536000, immutable"),
        (PREFIX + "/repo", None),
        (BELOW, None),
    ):
        response = request(surrounded, f"GET {path}")
        assert response.status == 200, path
        for name, value in (HSTS, FRAMES):
            assert response.values(name) == [value], (path, name)
        assert response.values("cache-control") == ([ours] if ours else []), path
        assert response.values("x-content-type-options") == (["nosniff"] if ours else []), path
