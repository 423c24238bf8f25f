"""What an admin gives for a site is served as given, or refused before anything is published."""

from __future__ import annotations

import contextlib
import http.client
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from servers.site import CODINGS, export, site_for, started, write_public
from servers.web import Application, WebServer

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.verify.files import decoded
from kallithea_tune.static_export.webservers import render, render_script
from kallithea_tune.static_export.webservers.site import Backend, Site

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


def is_accepted(name: str, root: str) -> bool:
    script = f"{root}.lua"
    backend = Backend.from_url("http://127.0.0.1:5000")
    site = Site(root, ["css"], ["LICENSES.txt"], CODINGS, [backend], script=script)
    try:
        render(name, site, False)
        render_script(name, site)
    except ConfigError:
        return False
    return True


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


def unserved(server: WebServer, public: Path) -> "list[str]":
    """Return what does not come as published: plain, in each coding, and with a version."""
    wrong = []
    for path in filter(Path.is_file, sorted(public.rglob("*"))):
        name = path.relative_to(public).as_posix()
        for query in ("", "?ver=0.7.0"):
            for coding in ("identity", *CODINGS):
                url = f"/{quote(name)}{query}"
                status, headers, body = server.get(url, Accept_Encoding=coding)
                came = headers.get("content-encoding", "identity")
                variant = os.path.exists(
                    f"{server.static}/{name}" + {"br": ".br"}.get(coding, ".gz")
                )
                right = coding if variant else "identity"
                if status != 200 or came != right or decoded(body, came) != path.read_bytes():
                    wrong.append(f"{url} {coding}: {status} {came}")
    return wrong


@pytest.mark.once
@pytest.mark.parametrize("name", FILES)
@pytest.mark.claim("a release is served from a path with any character, or the path is refused")
def test_a_release_is_served_from_any_path(name, public, application):
    accepted = [part for part in AWKWARD if is_accepted(name, f"/srv/{part}/static")]
    accepted = [part for part in accepted if is_accepted(name, f"/srv/{part}")]
    # All in one path, which takes one start of the web server.
    if is_served(name, os.path.join(*accepted, "a b"), public, application):
        return
    assert [part for part in accepted if not is_served(name, part, public, application)] == []


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


@pytest.mark.once
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
