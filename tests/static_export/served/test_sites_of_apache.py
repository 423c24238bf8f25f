"""What is written for Apache, inside a site that an administrator has already."""

from __future__ import annotations

import dataclasses
import json
import socket
import time

import pytest
from servers.raw import send
from servers.site import export, site_for, started, write_public
from servers.web import WebServer

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.webservers import quoting, render, syntax
from kallithea_tune.static_export.webservers.site import Backend

# As of h5bp, and behind another proxy.
SITE = """\
LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so
<VirtualHost *:{port}>
    ServerName localhost:{port}
    ServerAlias other.example
    Header set X-Content-Type-Options nosniff
    Header set X-Frame-Options DENY
    Header append Vary Accept-Encoding
    RemoteIPHeader X-Forwarded-For
    RemoteIPInternalProxy 127.0.0.1
    Include {snippet}
    RequestHeader set X-Forwarded-User "of this site"
</VirtualHost>
"""


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def web(public, application):
    server = WebServer("apache")
    try:
        site = site_for(server, export(server, public), application, prefix="/hosted")
        snippet = server.directory / "kallithea.inc"
        snippet.write_text(render("apache", site, True))
        server.own(snippet)
        server.conf.write_text(SITE.format(port=server.port, snippet=snippet))
        server.configured()
        server.start()
        yield server
    finally:
        server.remove()


def sent(web, path, host="", *headers):
    host = ("Host", host or "localhost:%d" % web.port)
    return send(web.port, f"GET {path} HTTP/1.1", host, *headers, ("Connection", "close"))


def test_the_sites_headers_stay_and_none_comes_twice(web):
    for path in ("/hosted/css/style.css", "/hosted/css/style.css?ver=0.7.0"):
        for coding in ("identity", "gzip"):
            response = sent(web, path, "", ("Accept-Encoding", coding))
            assert response.status == 200
            for name, value in (
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("vary", "Accept-Encoding"),
            ):
                assert response.values(name) == [value], (path, coding)


def test_kallithea_gets_the_name_of_the_site(web):
    for host in ("", "other.example", "evil.example:80"):
        seen = json.loads(sent(web, "/hosted/repo", host).body.decode())["headers"]
        assert seen["host"] == "localhost:%d" % web.port


def test_another_proxy_may_report_the_client(web):
    response = sent(web, "/hosted/repo", "", ("X-Forwarded-For", "203.0.113.9"))
    seen = json.loads(response.body.decode())["headers"]
    # And what the site itself says stays.
    assert (seen["x-forwarded-for"], seen["x-forwarded-user"]) == ("203.0.113.9", "of this site")


def test_the_rest_of_the_site_is_not_kallitheas(web):
    response = sent(web, "/hosted")
    assert (response.status, response.values("location")) == (301, ["/hosted/"])
    assert sent(web, "/other", "", ("X-Forwarded-Anything", "x")).status in (403, 404)
    assert sent(web, "/hosted/repo", "", ("X-Forwarded-Anything", "x")).status == 400


def test_git_may_be_silent_within_a_push(public, application):
    # As Debian has it, with 10 seconds.
    strict = (
        "LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so\n"
        "RequestReadTimeout body=1,minrate=500\n"
    )

    def pushed(change):
        server, _ = started(
            "apache", public, application, change=lambda text: strict + change(text)
        )
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                head = "POST /repo/git-receive-pack HTTP/1.1\r\nHost: localhost:%d\r\n"
                connection.sendall((head % server.port).encode() + b"Content-Length: 2\r\n\r\nx")
                time.sleep(2.5)
                connection.sendall(b"x")
                return connection.recv(12).decode()
        finally:
            server.remove()

    assert pushed(str) == "HTTP/1.1 200"
    assert pushed(lambda text: text.replace("RequestReadTimeout body=0", "")) == "HTTP/1.1 408"


def test_a_backends_certificate_is_that_of_the_site(public, application):
    server = WebServer("apache")
    try:
        site = site_for(server, export(server, public), application)
        for host, accepted in (("localhost", True), ("127.0.0.1", False)):
            site = dataclasses.replace(site, backends=[Backend(host, 5443, "https")])
            if accepted:
                assert "SSLProxyVerify require" in render("apache", site, False)
            else:
                with pytest.raises(ConfigError, match="certificate"):
                    render("apache", site, False)
    finally:
        server.remove()


def test_what_apache_cannot_quote_is_refused():
    with pytest.raises(ConfigError, match="question mark"):
        quoting.apache_substitution("/srv/a?b")
    with pytest.raises(ConfigError, match="choose another"):
        quoting.apache("/etc/${HOME}.pem")


def test_a_complaint_of_apache_has_its_reason():
    said = syntax.complaint(syntax.APACHE, "SSLCertificateFile /nowhere.pem\n", True)
    assert "Syntax error on line 1" in said and "SSLCertificateFile: file '/nowhere.pem'" in said
