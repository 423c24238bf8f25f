"""Each server with a certificate, set up by the lines of its runbook: links keep https.

And --verify trusts whom it should.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from servers.server import free_port
from servers.visitor import Visitor
from servers.web import WebServer

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks"
NAMES = ("apache", "caddy", "haproxy", "lighttpd", "nginx")


def block(name, mark):
    """Return the literal block of a runbook with `mark`."""
    text = (RUNBOOKS / (f"behind-{name}.rst")).read_text()
    (found,) = [item for item in re.findall(r"(?m)(?:^ {7,}.*\n|^\n)+", text) if mark in item]
    return textwrap.dedent(found)


@pytest.fixture(scope="module")
def certificate(programs, tmp_path_factory):
    """A certificate for localhost that vouches for itself, as the files that runbooks name."""
    directory = tmp_path_factory.mktemp("certificate")
    programs(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        "privkey.pem",
        "-out",
        "fullchain.pem",
        cwd=directory,
    )
    both = (directory / "fullchain.pem").read_text() + (directory / "privkey.pem").read_text()
    (directory / "code.example.com.pem").write_text(both)
    return directory


@pytest.fixture
def secured(certificate, static_export, exported, kallithea, web_server):
    """Start a server with the site of its runbook around the snippet that the command writes."""
    running = []

    def snippet(server, *words):
        path = server.directory / "kallithea.inc"
        result = static_export(
            "-c",
            kallithea.ini,
            exported,
            "--server",
            server.name,
            "-o",
            path,
            "--server-name",
            "localhost",
            *words,
        )
        assert result.returncode == 0, result.stderr
        return path

    def call(name):
        server = WebServer(name)
        running.append(server)
        server.scheme = "https"
        for path in certificate.iterdir():
            shutil.copy(str(path), str(server.directory))
            (server.directory / path.name).chmod(0o644)
        server.conf.write_text(SITES[name](server, snippet, kallithea, web_server))
        server.configured()
        server.start()
        return server

    yield call
    for server in running:
        server.remove()


def placed(text, server, *changes):
    """Put the paths and the name of the test's server in place of the runbook's, after the
    `changes`.
    """
    for old, new in changes:
        assert re.search(old, text), old
        text = re.sub(old, new, text)
    for old, new in (
        (r"[^\s\"]*/(\w+\.pem|code\.example\.com\.pem)", rf"{server.directory}/\1"),
        (r"code\.example\.com(?!\.pem)", "localhost"),
    ):
        text = re.sub(old, new, text)
    return text


def nginx(server, snippet, *_):
    return placed(
        block("nginx", "listen 443"),
        server,
        ("443", str(server.port)),
        (r"snippets/kallithea\.conf", str(snippet(server, "--snippet-only"))),
    )


def apache(server, snippet, *_):
    site = placed(
        block("apache", "*:443"),
        server,
        ("443", str(server.port)),
        (r"/etc/apache2/kallithea\.inc", str(snippet(server, "--snippet-only"))),
    )
    return site


def caddy(server, snippet, *_):
    # The certificate that Caddy would fetch itself.
    own = "https://localhost:%d {\n    tls %s/fullchain.pem %s/privkey.pem" % (
        server.port,
        server.directory,
        server.directory,
    )
    return placed(
        block("caddy", "code.example.com {"),
        server,
        (r"code\.example\.com \{", own),
        (
            "import kallithea",
            "import {}".format(snippet(server, "--snippet-only", "--port", server.port)),
        ),
    )


def lighttpd(server, snippet, *_):
    site = '$HTTP["host"]'
    text = block("lighttpd", "max-request-field-size").replace(
        site, block("lighttpd", "ssl.engine") + site
    )
    text = placed(
        text,
        server,
        (":443", ":%d" % server.port),
        (r'include "kallithea\.conf"', 'include "{}"'.format(snippet(server, "--snippet-only"))),
    )
    debians = Path("/etc/lighttpd/lighttpd.conf").read_text()
    # What needs root, and what the tests have elsewhere.
    debians = re.sub(
        r"(?m)^server\.(errorlog|pid-file|username|groupname|upload-dirs|port) .*\n", "", debians
    )
    return "server.port = %d\n%s\n%s" % (free_port(), debians, text)


def haproxy(server, snippet, kallithea, web_server):
    believing = block("haproxy", "set_real_ip_from")
    text = (RUNBOOKS / "behind-haproxy.rst").read_text()
    lines = re.findall(r"``(proxy_set_header [^`]*;)``", text)

    def before_haproxy(conf):
        for line in lines:
            conf, count = re.subn(rf"proxy_set_header {line.split()[1]} .*;", line, conf)
            assert count, line
        return conf.replace("server {\n", "server {\n" + believing, 1)

    inner = web_server("nginx", kallithea.ini, change=before_haproxy)
    files = [server.directory / name for name in ("fullchain.pem", "privkey.pem")]
    beside = server.directory / "fullchain.pem.key"
    shutil.copy(str(files[1]), str(beside))
    beside.chmod(0o644)
    return snippet(
        *(server, "--backend", "http://127.0.0.1:%d" % inner.port, "--port", server.port),
        *("--tls", *files, "--redirect-port", free_port()),
    ).read_text()


SITES = {"apache": apache, "caddy": caddy, "haproxy": haproxy, "lighttpd": lighttpd, "nginx": nginx}


@pytest.mark.parametrize(
    ("kallithea", "name"),
    [("", "nginx"), *(("/hosted", name) for name in NAMES)],
    indirect=["kallithea"],
)
def test_a_site_with_a_certificate(
    name, secured, certificate, kallithea, static_export, exported, programs, tmp_path, monkeypatch
):
    server = secured(name)
    url, trusted = server.url + kallithea.prefix, str(certificate / "fullchain.pem")
    arguments = ("-c", kallithea.ini, exported, "--verify", url, "-f", "json")
    result = static_export(*arguments)
    assert (
        result.returncode == 2
        and "SSL_CERT_FILE" in result.stderr
        and "Traceback" not in result.stderr
    )
    result = static_export(*arguments, SSL_CERT_FILE=trusted)
    assert [
        row for row in json.loads(result.stdout) if row["kind"] == "problem"
    ] == [] and result.returncode == 0
    status, headers, _ = server.get(kallithea.prefix + "/_admin/my_account")
    assert status == 302 and headers["location"].startswith(url + "/_admin/login")
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    person = Visitor(url)
    person.log_in()
    assert "https://admin@localhost:%d%s/hg-one" % (server.port, kallithea.prefix) in person.get(
        "/hg-one"
    )
    programs(
        "env",
        "GIT_SSL_CAINFO=" + trusted,
        "git",
        "clone",
        "-q",
        url + "/git-one",
        "git",
        cwd=tmp_path,
    )
    programs(
        "hg",
        "--config",
        "web.cacerts=" + trusted,
        "clone",
        "-q",
        url + "/hg-one",
        "hg",
        cwd=tmp_path,
    )
    assert sorted(os.listdir(str(tmp_path))) == ["git", "hg"]
