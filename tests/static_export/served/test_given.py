"""What an admin gives for a site is served as given, or refused before anything is published."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import os
import shutil
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Callable, Sequence
from urllib.parse import quote

import pytest
from servers.server import free_port
from servers.site import CODINGS, export, site_for, started, write_public
from servers.web import Application, WebServer

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.verify.files import decoded
from kallithea_tune.static_export.webservers import (
    AUTHORITIES,
    SERVERS,
    render,
    render_script,
    syntax,
)
from kallithea_tune.static_export.webservers.site import Backend, Site, Tls

FILES = ("apache", "caddy", "lighttpd", "nginx")
# What means something in the configuration of some web server, in a regular expression, in the
# languages that are substituted in them, or to the shell.
AWKWARD = (
    *("a b", "b ", " b", "a;b", "a{b}", "{b", "b}", "{}", "${b}", "$", "$$", "$host", "a$1b"),
    *("a'b", "'b'", 'a"b', '"b"', "a\\b", "b\\", "\\1", "a\\nb", "a\\\\b", "\\", "a[b]", "a(b)"),
    *("%{b}", "%1", "%{HTTP_HOST}", "%20", "%%", "{path}", "{$HOME}", "{env.HOME}", "{{b}}"),
    *("#b", "a#b", "é", "日", "(", ")", "*", "a?b", "a+b", "a|b", "a,b", "-b", "--b", "~b", "~"),
    *("a&b", "a=b", "<b>", "`b`", "!b", "a^b", "a@b", "a:b", "a..b", "...", "[[b]]"),
)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_public(tmp_path_factory.mktemp("public"))


def held(parts: Sequence[str], holds: Callable[[Sequence[str]], object]) -> "list[str]":
    """Return the `parts` for which `holds` raises no ConfigError, alone or with others."""
    try:
        holds(parts)
    except ConfigError:
        half = len(parts) // 2
        return held(parts[:half], holds) + held(parts[half:], holds) if half else []
    return list(parts)


def made(name: str, root: str, entries: Sequence[str]) -> None:
    """Have the configuration made, but for nobody."""
    backend = Backend.from_url("http://127.0.0.1:5000")
    files = [f"{entry}.txt" for entry in entries]
    site = Site(root, entries, files, CODINGS, [backend], script=f"{root}.lua")
    render(name, site, False)
    render_script(name, site)


def is_served(name: str, place: str, public: Path, application: Application) -> bool:
    """Whether a web server serves every file of a release at `place`, below its own directory."""
    server = WebServer(name)
    try:
        server.static = server.directory / place
        server.static.parent.mkdir(parents=True, exist_ok=True)
        site = site_for(server, export(server, public), application)
        server.conf.write_text(render(name, site, False), encoding="utf-8")
        script = render_script(name, site)
        if script:
            Path(site.script).write_text(script, encoding="utf-8")
        server.configured()
        with contextlib.suppress(AssertionError):
            server.start()
            return not unserved(server, public)
        return False
    finally:
        server.remove()


def unserved(
    server: WebServer, public: Path, prefix: str = "", queries: Sequence[str] = ("", "?ver=0.7.0")
) -> "list[str]":
    """Return what does not come as published: plain, in each coding, and with a version."""
    wrong = []
    for path in filter(Path.is_file, sorted(public.rglob("*"))):
        name = path.relative_to(public).as_posix()
        for query in queries:
            for coding in ("identity", *CODINGS):
                url = f"{prefix}/{quote(name)}{query}"
                status, headers, body = server.get(url, Accept_Encoding=coding)
                came = headers.get("content-encoding", "identity")
                variant = os.path.exists(
                    f"{server.static}/{name}" + {"br": ".br"}.get(coding, ".gz")
                )
                right = coding if variant else "identity"
                if status != 200 or came != right or decoded(body, came) != path.read_bytes():
                    wrong.append(f"{url} {coding}: {status} {came}")
    return wrong


@pytest.mark.parametrize("name", FILES)
@pytest.mark.claim("A release is served from a path with any character, or the path is refused")
def test_a_release_is_served_from_any_path(name, public, application):
    # All in two paths, for two starts of the web server: Apache has one kind of quotes in a path.
    parts = [[part for part in AWKWARD if ('"' in part) is doubly] for doubly in (False, True)]
    accepted = [
        held(one, lambda some: made(name, os.path.join("/srv", *some), ["css"])) for one in parts
    ]
    if all(is_served(name, os.path.join(*parts, "a b"), public, application) for parts in accepted):
        return
    broken = filter(lambda part: not is_served(name, part, public, application), sum(accepted, []))
    assert list(broken) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.claim("Files and directories of any name are served, or the name is refused")
def test_entries_of_any_name_are_served(name, application, tmp_path):
    # Names with a dot first are not published, and no release has a "?" or a backslash.
    entries = [part for part in AWKWARD if part[0] != "." and not {"?", "\\"} & set(part)]
    entries = held(entries, lambda some: made(name, "/srv/static", some))
    for entry in entries:
        (tmp_path / entry).mkdir()
        (tmp_path / entry / f"{entry}.css").write_text("a {}\n" * 500)
        (tmp_path / f"{entry}.txt").write_text(f"{entry}\n" * 500)
    assert len(entries) > len(AWKWARD) / 2
    # A prefix of every kind of character that one may have.
    prefix = "/~joe/K.v_1-2"
    server, _ = started(name, tmp_path, application, prefix=prefix)
    try:
        assert unserved(server, tmp_path, prefix, [""]) == []
    finally:
        server.remove()


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.claim("Certificates are found in a directory of any name, or the name is refused")
def test_certificates_lie_in_any_directory(name, secure, tmp_path):
    backend = Backend.from_url("http://127.0.0.1:5000")

    def site(parts: Sequence[str]) -> Site:
        pair = [str(tmp_path.joinpath(*parts, file)) for file in ("a.pem", "a.pem.key")]
        tls = Tls(*pair, redirect_port=61081)
        script = str(tmp_path / "x.lua")
        return Site("/srv/static", ["css"], [], [], [backend], port=61080, tls=tls, script=script)

    for doubly in (False, True):
        parts = [part for part in AWKWARD if ('"' in part) is doubly]
        parts = held(parts, lambda some: render(name, site(some), False))
        tls = site(parts).tls
        Path(tls.certificate).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(secure[3]), tls.certificate)
        shutil.copy(str(secure[4]), tls.key)
        assert parts and not syntax.complaint(
            SERVERS[name].syntax, render(name, site(parts), False), False
        )


def vary_of(server: WebServer, path: str, **headers: str) -> "tuple[int, list[str]]":
    """Return the status, and each Vary header with its words in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers={"Host": "localhost", **headers})
    answer = connection.getresponse()
    answer.read()
    found = answer.headers.get_all("Vary", [])
    connection.close()
    return answer.status, [value.lower() for value in found]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.claim("Vary: Accept-Encoding comes once with each file that has variants, also on 304")
def test_vary_is_right_for_every_file(name, public, application):
    server, release = started(name, public, application)
    try:
        for path in ("/css/style.css", "/css/style.css?ver=0.7.0", "/images/pixel.png"):
            # Without variants, it does no harm, except twice.
            right = [["accept-encoding"]]
            right += [] if release.files[path[1:].partition("?")[0]].variants else [[]]
            for coding in ("gzip", "br", "identity", "gzip;q=0", "zstd, br, gzip"):
                status, vary = vary_of(server, path, Accept_Encoding=coding)
                assert status == 200 and vary in right, (path, coding, vary)
                etag = server.get(path, Accept_Encoding=coding)[1]["etag"]
                status, vary = vary_of(server, path, Accept_Encoding=coding, If_None_Match=etag)
                assert status == 304 and vary in right, (path, coding, vary)
    finally:
        server.remove()


class Secure(http.server.BaseHTTPRequestHandler):
    """An application that speaks https."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"secure")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def secure(programs, tmp_path_factory):
    """Ports of two applications that speak https, for localhost and for another host, the file with
    both of their certificates, and the first one's with its key.
    """
    directory, ports, authorities = tmp_path_factory.mktemp("secure"), [], ""
    for name in ("localhost", "other.example"):
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
        programs("openssl", "req", "-x509", *key, *subject, *files, cwd=directory)
        authorities += (directory / f"{name}.pem").read_text()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Secure)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(directory / f"{name}.pem"), str(directory / f"{name}.key"))
        server.socket = context.wrap_socket(server.socket, True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports.append(server.server_port)
    path = Path(tempfile.mkdtemp(prefix="kallithea-tune-test-")) / "authorities.pem"
    path.write_text(authorities)
    path.parent.chmod(0o755)
    yield [*ports, path, directory / "localhost.pem", directory / "localhost.key"]
    shutil.rmtree(str(path.parent))


@pytest.mark.parametrize("name", ["apache", "caddy", "haproxy", "nginx"])
@pytest.mark.claim("A backend of https is used, if its certificate is trusted and for its name")
def test_a_backend_of_https_is_verified(name, public, application, secure):
    right, wrong, authorities, *_ = secure
    for port, trusted, answers in (
        (right, True, True),
        (wrong, True, False),
        (right, False, False),
    ):
        backends = [Backend.from_url(f"https://localhost:{port}")]
        server = WebServer(name)
        try:
            site = dataclasses.replace(
                site_for(server, export(server, public), application), backends=backends
            )
            text = render(name, site, False)
            if trusted:
                # Ours are not those of the machine, which Caddy finds by itself.
                assert name == "caddy" or AUTHORITIES[0] in text
                text = text.replace(AUTHORITIES[0], str(authorities))
                server.environment["SSL_CERT_FILE"] = str(authorities)
            server.conf.write_text(text)
            server.configured()
            server.start()
            status, _, body = server.get("/")
            assert (status == 200, body == b"secure") == (answers, answers), (port, trusted)
        finally:
            server.remove()


@pytest.mark.parametrize(
    "name, urls, sentence",
    [
        ("lighttpd", ["https://kallithea.example.com"], "over http only"),
        ("nginx", ["https://a:1", "https://b:1"], "the same name for each"),
        ("nginx", ["https://a:1", "http://a:1"], "the same name for each"),
        ("apache", ["https://a:1"], "a certificate of that name"),
    ],
)
def test_a_backend_that_cannot_be_verified_is_refused(name, urls, sentence):
    site = Site("/srv/static", ["css"], [], [], [Backend.from_url(url) for url in urls])
    with pytest.raises(ConfigError, match=sentence):
        render(name, site, False)
