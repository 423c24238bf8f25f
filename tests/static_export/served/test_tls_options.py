"""What ``--tls`` writes: a site of https with the redirect from http, as Mozilla's guidelines have
it.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import tempfile
from pathlib import Path

import pytest
from servers.server import free_port
from servers.site import started, write_public
from servers.web import WebServer

from kallithea_tune.cli.static_export import StaticExportCommand, options_from
from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.options import validate
from kallithea_tune.static_export.webservers.site import Tls

SERVERS = ("apache", "caddy", "haproxy", "lighttpd", "nginx")
PREFIX = "/hosted"
HSTS = "strict-transport-security"
YEAR = 31536000
# https://ssl-config.mozilla.org/guidelines/5.7.json, intermediate, without those of TLS 1.3.
INTERMEDIATE = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
)
# Whatever OpenSSL knows, and no objection of its own to what is weak.
EVERY_CIPHER = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def certificate(programs):
    """A certificate for localhost and its key, where every account can read them.

    HAProxy finds a key by the name of its certificate.
    """
    directory = Path(tempfile.mkdtemp(prefix="kallithea-tune-test-"))
    directory.chmod(0o755)
    programs(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-out", "site.pem", "-keyout", "site.pem.key"),
        cwd=directory,
    )
    (directory / "site.pem.key").chmod(0o644)
    yield directory / "site.pem"
    shutil.rmtree(str(directory))


@pytest.fixture(scope="module", params=SERVERS)
def web(request, public, application, certificate):
    tls = Tls(str(certificate), str(certificate) + ".key", free_port(), YEAR)
    server, _ = started(request.param, public, application, prefix=PREFIX, tls=tls)
    server.redirect_port = tls.redirect_port
    yield server
    server.remove()


def plain(port, path, host):
    """Return status and headers (lower case) of a GET by http."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def handshake(port, **settings):
    """Return the version, cipher and protocol agreed on. Raises OSError where there is none."""
    context = ssl._create_unverified_context()
    context.set_ciphers(settings.get("ciphers", EVERY_CIPHER))
    version = settings.get("version")
    context.minimum_version = version or ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version or ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = socket.create_connection(("127.0.0.1", port), 30)
    with connection, context.wrap_socket(connection, server_hostname="localhost") as wrapped:
        return wrapped.version(), wrapped.cipher()[0], wrapped.selected_alpn_protocol()


@pytest.mark.claim("http redirects to https with the same path and query")
@pytest.mark.parametrize(
    "path", ["/", "/repo/changeset/feature%2Fx?a=%20b", "/css/style.css?ver=1", "/a%3Fb//c?d"]
)
def test_http_redirects_to_https(web, path):
    status, headers = plain(web.redirect_port, PREFIX + path, "localhost")
    assert (status, headers["location"]) in [(code, web.url + PREFIX + path) for code in (301, 308)]
    assert HSTS not in headers  # which browsers ignore by http


@pytest.mark.claim("http redirects to the site's own name only")
def test_http_redirects_nobody_to_another_host(web):
    try:
        status, headers = plain(web.redirect_port, PREFIX + "/", "evil.example")
    except OSError:
        return
    assert status >= 300 and "evil" not in headers.get("location", "")


@pytest.mark.claim("TLS 1.2 and 1.3 are accepted, and no older version")
def test_current_versions_of_tls_only(web):
    for version, name in (
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ):
        assert handshake(web.port, version=version)[0] == name
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(OSError):
            handshake(web.port, version=version)


@pytest.mark.claim("No cipher outside of Mozilla's intermediate list is accepted")
def test_no_cipher_but_mozillas(web):
    twelve = ssl.TLSVersion.TLSv1_2
    assert handshake(web.port, version=twelve)[1] in INTERMEDIATE
    others = ":".join(["ALL:COMPLEMENTOFALL", *(f"!{name}" for name in INTERMEDIATE)])
    with pytest.raises(OSError):
        handshake(web.port, version=twelve, ciphers=others + ":@SECLEVEL=0")


@pytest.mark.claim("Browsers get HTTP/2")
def test_http_2_is_negotiated(web):
    assert handshake(web.port)[2] == "h2"


@pytest.mark.claim("Kallithea sees https and the site's name with its port, for its links")
def test_the_application_sees_https(web):
    status, _, body = web.get(PREFIX + "/repo", X_Forwarded_Proto="http")
    headers = json.loads(body.decode())["headers"]
    assert (status, headers["x-forwarded-proto"]) == (200, "https")
    assert headers["host"] == "localhost:%d" % web.port


def lives(server):
    """Return the lifetimes that HSTS has on a file, a page, and a redirect."""
    paths = [PREFIX + "/repo"]
    if server.name != "haproxy":  # which serves no files, and has no need of a redirect
        paths += [PREFIX + "/css/style.css", PREFIX + "/css/style.css?ver=0.7.0", PREFIX]
    return [server.get(path)[1].get(HSTS) for path in paths]


@pytest.mark.claim("With --hsts, browsers are told to use https on files, pages and redirects")
def test_hsts_is_on_every_answer(web):
    assert set(lives(web)) == {"max-age=%d" % YEAR}


@pytest.mark.claim("Without --hsts, nothing is said about it")
@pytest.mark.parametrize("name", SERVERS)
def test_no_hsts_unless_chosen(name, public, application, certificate):
    tls = Tls(str(certificate), str(certificate) + ".key", free_port())
    server, _ = started(name, public, application, prefix=PREFIX, tls=tls)
    try:
        assert set(lives(server)) == {None}
    finally:
        server.remove()


@pytest.mark.claim("--tls without files: a certificate of the server's own, or refused")
@pytest.mark.parametrize("name", sorted(set(SERVERS) - {"caddy"}))
def test_no_certificate_of_its_own(name):
    parser = StaticExportCommand(None, None, "static-export").get_parser("gearbox static-export")
    words = ["-c", "my.ini", "dest", "--server", name, "-o", "site.conf", "--tls"]
    args = parser.parse_args(words)
    with pytest.raises(ConfigError, match="--tls") as caught:
        # Which the command does before it loads the application.
        validate(options_from(args))
    assert "\n" not in str(caught.value)


@pytest.mark.claim("--tls without files: a certificate of the server's own, or refused")
@pytest.mark.parametrize("name", ["caddy"])
def test_caddy_gets_its_own_certificate(name, public, application):
    class WithItsOwn(WebServer):
        def configured(self) -> None:
            super().configured()
            main = self.directory / "main.conf"
            text = main.read_text()
            assert "auto_https off" in text
            # Of its own authority, which needs no name that the world can resolve.
            own = "auto_https disable_redirects\nskip_install_trust\nlocal_certs"
            main.write_text(text.replace("auto_https off", own))

    tls = Tls(redirect_port=free_port())
    server, _ = started(name, public, application, kind=WithItsOwn, prefix=PREFIX, tls=tls)
    try:
        status, headers = plain(tls.redirect_port, PREFIX + "/repo?a", "localhost")
        assert status in (301, 302, 308) and headers["location"] == server.url + PREFIX + "/repo?a"
        assert server.get(PREFIX + "/css/style.css")[0] == 200
    finally:
        server.remove()
