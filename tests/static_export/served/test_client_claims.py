"""What a client claims about its host, scheme and address reaches no Kallithea behind a web
server.
"""

from __future__ import annotations

import json

import pytest
from servers.application import Kallithea, instance_for_traffic
from servers.raw import send
from servers.site import started, write_public

from kallithea_tune.config.forwarding import CLEAR
from kallithea_tune.static_export.webservers.site import FORWARDING_HEADERS

SERVERS = ("apache", "caddy", "haproxy", "lighttpd", "nginx")
PREFIX = "/hosted"
EVIL = "evil.example"
# With their spellings that CGI takes for the same.
CLAIMS = [
    (spelled, EVIL)
    for name in FORWARDING_HEADERS
    for spelled in (name, name.replace("-", "_"), name.lower())
]
# Nothing believes it; nginx and Apache drop only headers whose names they are given.
UNKNOWN = {"nginx": [], "apache": []}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(
    scope="module",
    params=[(name, prefix) for name in SERVERS for prefix in ("", PREFIX)],
    ids=lambda item: "-".join((item[0], item[1].strip("/") or "root")),
)
def web(request, public, application):
    name, prefix = request.param
    server, _ = started(name, public, application, prefix=prefix)
    server.prefix = prefix
    server.host = "localhost:%d" % server.port
    yield server
    server.remove()


def seen(web, *headers, line="GET {}/repo HTTP/1.1", host=None):
    """Return the header lines that the application got."""
    host = web.host if host is None else host
    headers = [("Connection", "close"), *headers]
    response = send(web.port, line.format(web.prefix), ("Host", host), *headers)
    assert response.status == 200, response
    return [tuple(pair) for pair in json.loads(response.body.decode())["lines"]]


@pytest.mark.claim("No header by which proxies report address, host or scheme passes from a client")
def test_no_forwarding_header_of_a_client_reaches_the_application(web):
    unknown = UNKNOWN.get(web.name, [("X-Forwarded-Anything", EVIL)])
    for method in ("GET", "POST"):
        line = method + " {}/repo HTTP/1.1"
        length = [("Content-Length", "0")] if method == "POST" else []
        claims = [*CLAIMS, *unknown]
        passed = [pair for pair in seen(web, *claims, *length, line=line) if EVIL in pair[1]]
        assert passed == []


@pytest.mark.parametrize("name", ["X-Forwarded-Anything", "X_Forwarded-Host", "x-real_ip"])
@pytest.mark.parametrize("web", [("apache", PREFIX)], indirect=True, ids=["apache"])
def test_apache_refuses_what_it_cannot_drop(web, name):
    line = "GET %s/repo HTTP/1.1" % PREFIX
    host = ("Host", web.host)
    assert send(web.port, line, host, (name, EVIL), ("Connection", "close")).status == 400


@pytest.mark.claim("Kallithea gets the client's address and scheme from the connection, once each")
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")] * 2,
        [("X_Forwarded_For", "203.0.113.9"), ("X_Forwarded_Proto", "https")],
        # What a proxy removes because a client says that it belongs to the connection only.
        [("Connection", "X-Forwarded-For, X-Forwarded-Proto")],
    ],
    ids=["alone", "twice", "underscores", "hop-by-hop"],
)
def test_address_and_scheme_come_from_the_connection(web, headers):
    lines = seen(web, *headers)

    def values(name):
        return [value for other, value in lines if other.replace("_", "-") == name]

    assert (values("x-forwarded-for"), values("x-forwarded-proto")) == (["127.0.0.1"], ["http"])


@pytest.mark.claim("A Host beside a URL in the request line does not reach Kallithea")
def test_the_host_of_an_absolute_url_counts(web):
    line = "GET http://%s{}/repo HTTP/1.1" % web.host
    response = send(web.port, line.format(web.prefix), ("Host", EVIL), ("Connection", "close"))
    # To refuse it is as good.
    assert EVIL not in response.body.decode() or response.status >= 400


@pytest.mark.claim("A Host that is not the site's does not reach Kallithea")
def test_another_host_does_not_reach_the_application(web):
    response = send(
        web.port, f"GET {web.prefix}/repo HTTP/1.1", ("Host", EVIL), ("Connection", "close")
    )
    assert EVIL not in response.body.decode() or response.status >= 400


@pytest.mark.claim("Two Hosts in one request are refused")
def test_two_hosts_are_refused(web):
    response = send(
        web.port,
        f"GET {web.prefix}/repo HTTP/1.1",
        ("Host", web.host),
        ("Host", EVIL),
        ("Connection", "close"),
    )
    assert response.status == 400


@pytest.mark.claim("Kallithea gets the site's Host with its port, from which it makes links")
def test_the_hosts_port_stays(web):
    assert dict(seen(web))["host"] == web.host


@pytest.mark.claim("No claim of a client shows in redirects, cookies or pages of Kallithea")
@pytest.mark.parametrize("kallithea", [PREFIX], indirect=True, ids=["prefix"])
@pytest.mark.parametrize("name", SERVERS)
def test_kallithea_answers_as_if_nothing_had_been_claimed(name, kallithea, public):
    server, _ = started(name, public, kallithea, prefix=PREFIX)
    try:
        host = ("Host", "localhost:%d" % server.port)
        for path in ("/_admin/my_account", "/_admin/login", "/"):
            line = f"GET {PREFIX}{path} HTTP/1.1"
            plain, claimed = (
                send(server.port, line, host, *claims, ("Connection", "close"))
                for claims in ([], CLAIMS)
            )
            assert claimed.status == plain.status in (200, 302), path
            assert claimed.values("location") == plain.values("location")
            everything = repr(claimed.headers).encode() + claimed.body
            assert EVIL.encode() not in everything, path
        (location,) = send(
            server.port, f"GET {PREFIX}/_admin/my_account HTTP/1.1", host, ("Connection", "close")
        ).values("location")
        assert location.startswith(f"http://localhost:{server.port}{PREFIX}/")
    finally:
        server.remove()


@pytest.mark.parametrize("clearing", [False, True])
def test_waitress_drops_a_host_claimed_past_the_web_server(clearing, pristine, tmp_path):
    ini = instance_for_traffic(pristine, tmp_path / "instance", "")
    if clearing:
        (line,) = (f"{name} = {value}\n" for name, value in CLEAR.items())
        ini.write_text(ini.read_text().replace("[server:main]\n", "[server:main]\n" + line))
    server = Kallithea(ini)
    try:
        server.start()
        host, claim = ("Host", f"localhost:{server.port}"), ("X-Forwarded-Host", EVIL)
        response = send(server.port, "GET / HTTP/1.1", host, claim, ("Connection", "close"))
        assert response.status == 200 and (EVIL.encode() in response.body) is not clearing
    finally:
        server.remove()
