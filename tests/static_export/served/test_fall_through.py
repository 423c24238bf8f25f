"""What a release lacks belongs to Kallithea, also below a directory that is exported."""

from __future__ import annotations

import hashlib
import http.client
import json
from pathlib import Path

import pytest
from servers.application import BIN, run
from servers.site import started, write_public
from servers.visitor import Visitor

SERVERS = ("apache", "caddy", "lighttpd", "nginx")
PREFIX = "/hosted/kallithea"
BASE = b"function f() {}\n" * 500  # js/base.js


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(
    scope="module",
    params=[(name, prefix) for name in SERVERS for prefix in ("", PREFIX)],
    ids=lambda item: item[0] + ("-prefix" if item[1] else ""),
)
def web(request, public, application):
    name, prefix = request.param
    server, _ = started(name, public, application, prefix=prefix)
    server.prefix = prefix
    yield server
    server.remove()


def sent(web, method, path, body=None, **headers):
    """Return status, headers and body; names of headers are given with underscores."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    host = {"Host": "localhost:%d" % web.port}
    try:
        connection.request(method, web.prefix + path, body, {**host, **named})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def requests_of(application):
    """Return how many requests the application has answered, this one not counted."""
    connection = http.client.HTTPConnection("127.0.0.1", application.port, timeout=30)
    connection.request("GET", "/")
    number = json.loads(connection.getresponse().read().decode())["number"]
    connection.close()
    return number


@pytest.mark.claim(
    "What a release lacks below an exported directory is Kallithea's, at its own URL"
)
@pytest.mark.parametrize(
    "path",
    [
        "/js",
        "/js/",
        "/js/lib",
        "/js/lib/",
        "/js/lib/changeset/feature%2Fx?a=%20b&ver=0.7.0",
        "/js/lib/files/tip/with%20a%20blank/100%25/%C3%A4.txt",
        "/js/lib/files/tip/base.js",
        "/js/base.js.gz.txt",
        "/js/base.js/",
        "/js/base.js/raw",
        "/LICENSES.txt/",
        "/LICENSES.txt.old",
        "/codemirror/mode",
        "/cssx/style.css",
        "/CSS/style.css",
        "/css/*.css",
        "/css/styl%5Be%5D.css",
        "/css/style%5C.css",
        "/css/style.css%3Fx",
    ],
)
def test_what_does_not_exist_reaches_the_application_unchanged(path, web):
    status, _, body = sent(web, "GET", path)
    assert status == 200
    assert json.loads(body.decode())["path"] == web.prefix + path


@pytest.mark.claim("A push to a repository below an exported directory arrives with its content")
def test_a_body_arrives_below_an_exported_directory(web):
    content = b"0123456789abcdef" * 20000
    status, _, body = sent(web, "POST", "/js/lib/git-receive-pack?a=%2F", content)
    seen = json.loads(body.decode())
    assert (status, seen["path"]) == (200, web.prefix + "/js/lib/git-receive-pack?a=%2F")
    assert seen["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.claim("A file that exists costs Kallithea no request, also partly, or unchanged")
def test_existing_files_are_served_without_the_application(web, application):
    before = requests_of(application)
    for path in ("/js/base.js", "/js/base.js?ver=0.7.0", "/js/base.js?ver=0.6.3"):
        status, headers, body = sent(web, "GET", path)
        assert (status, body) == (200, BASE)
        assert sent(web, "GET", path, If_None_Match=headers["ETag"])[::2] == (304, b"")
        status, headers, body = sent(web, "HEAD", path)
        assert (status, headers["Content-Length"], body) == (200, str(len(BASE)), b"")
        status, headers, body = sent(web, "GET", path, Range="bytes=2-5")
        assert (status, body) == (206, BASE[2:6])
        assert headers["Content-Range"] == "bytes 2-5/%d" % len(BASE)
    for path in ("/LICENSES.txt", "/images/a%20b%2Bc.svg", "/codemirror/mode/py/py.js"):
        assert sent(web, "GET", path)[0] == 200
    assert requests_of(application) - before == 1


@pytest.mark.claim("No missing file is remembered as missing, also with a version in its URL")
@pytest.mark.parametrize("path", ["/js/missing.js?ver=0.7.0", "/missing.js?ver=0.7.0"])
def test_the_absence_of_a_file_is_not_cached(path, web):
    status, headers, body = sent(web, "GET", path)
    # As the application says, which says nothing.
    assert (status, headers["Cache-Control"], headers["ETag"]) == (200, None, None)
    assert json.loads(body.decode())["path"] == web.prefix + path


@pytest.mark.claim("What is hidden in a release is never served")
@pytest.mark.parametrize(
    "path",
    [
        "/.kallithea-tune.json",
        "/.release",
        "/.lasting/0.7.0/js/base.js",
        "/js/.hidden",
        "/js/.git/config",
        "/js/%2Ehidden",
    ],
)
def test_hidden_files_are_the_applications(path, web):
    for name in (".hidden", ".git/config"):
        hidden = Path(web.static) / "js" / name
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_text("hidden")
    status, _, body = sent(web, "GET", path)
    # A server may spell a letter of the URL that was encoded without need as it is.
    assert status == 200
    assert json.loads(body.decode())["path"].replace("%2E", ".") == (
        web.prefix + path.replace("%2E", ".")
    )


@pytest.fixture(scope="module")
def grouped(kallithea):
    """Kallithea with a group of the name of an exported directory, with a repository of each
    kind.
    """
    group = kallithea.ini.parent / "repos" / "js"
    if not group.exists():
        run(BIN / "hg", "init", group / "lib", cwd="/")
        run("git", "init", "-q", "--bare", "-b", "master", group / "tool", cwd="/")
        run(BIN / "kallithea-cli", "repo-scan", "-c", kallithea.ini, cwd="/")
    return kallithea


def with_account(url):
    return url.replace("//", "//admin:demo-password@")


def pushed_by_hg(url, name, directory):
    """Clone, push a commit, and return whether the server then has it."""
    clone = directory / "hg"
    run("hg", "clone", "-q", url, clone, cwd=directory)
    (clone / name).write_text(name)
    run("hg", "commit", "-A", "-q", "-m", name, cwd=clone)
    run("hg", "push", "-q", with_account(url), cwd=clone)
    return run("hg", "identify", "-i", cwd=clone) == run("hg", "identify", "-i", url, cwd=clone)


def pushed_by_git(url, name, directory):
    """Clone, push a commit, and return whether the server then has it."""
    clone = directory / "git"
    run("git", "clone", "-q", url, clone, cwd=directory)
    run("git", "commit", "-q", "--allow-empty", "-m", name, cwd=clone)
    run("git", "push", "-q", with_account(url), "HEAD:refs/heads/" + name, cwd=clone)
    return run("git", "rev-parse", "HEAD", cwd=clone).strip() in run(
        "git", "ls-remote", url, cwd=clone
    )


@pytest.mark.claim("hg and git use repositories of a group with the name of an exported directory")
@pytest.mark.parametrize("kallithea", ["/hosted"], indirect=True, ids=["prefix"])
@pytest.mark.parametrize("name", SERVERS)
def test_a_group_may_have_the_name_of_an_exported_directory(name, grouped, public, tmp_path):
    server, _ = started(name, public, grouped, prefix=grouped.prefix)
    url = server.url + grouped.prefix
    try:
        person = Visitor(url)
        assert "lib" in person.get("/js") and "/js/lib/changelog" in person.get("/js/lib")
        assert pushed_by_hg(url + "/js/lib", name, tmp_path)
        assert pushed_by_git(url + "/js/tool", name, tmp_path)
        assert name in person.get(f"/js/lib/files/tip/{name}")
    finally:
        server.remove()
