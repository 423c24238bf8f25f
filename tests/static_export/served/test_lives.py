"""What browsers get is the current file: for good only what cannot change, everything else checked
before each use, behind each web server.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from servers.browser import Browser
from servers.site import CODINGS, started, write_public
from servers.web import WebServer

from kallithea_tune.static_export.release import manifest, publish
from kallithea_tune.static_export.release.manifest import Recipe
from kallithea_tune.static_export.release.plan import Served, make
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.verify import files as verify
from kallithea_tune.static_export.verify import lives

FILES = ("apache", "caddy", "lighttpd", "nginx")
YEAR = 31536000
PROVEN = ("js/base.js", "images/a b+c.svg", "LICENSES.txt")


@pytest.fixture
def web(request, tmp_path, application):
    """Serve a release, with `release` to publish `public` as another one; nothing is reloaded."""
    public = write_public(tmp_path / "public")
    server, _ = started(request.getfixturevalue("name"), public, application)

    def release(version="0.7.0", proven=PROVEN):
        place = str(server.static)
        before = manifest.read(place)
        files = collect([str(public)], before.sources)
        served = Served("kallithea", version, (str(public),), files, proven=proven)
        return publish.publish(make(before, served, Recipe(codings=tuple(CODINGS))), place)

    server.public, server.release = public, release
    yield server
    server.remove()


def life(server, path, **headers):
    status, answered, _ = server.get(path, **headers)
    assert status == 200, path
    return lives.max_age(answered), "immutable" in answered["cache-control"]


@pytest.mark.claim("A file is cached for good only under the version that its content is proven of")
@pytest.mark.parametrize("name", FILES)
def test_only_what_is_proven_is_cached_for_good(name, web):
    release = web.release()
    for path in ("/js/base.js", "/images/a%20b+c.svg", "/LICENSES.txt"):
        assert life(web, path + "?ver=0.7.0") == (YEAR, True), path
        for coding in ("gzip", "br"):
            assert life(web, path + "?ver=0.7.0", Accept_Encoding=coding) == (YEAR, True), path
        for other in ("", "?ver=", "?ver=0.7.1", "?ver=0.7.0.1", "?ver=..", "?ver=.lasting"):
            assert life(web, path + other) == (0, False), path + other
    for path in ("/css/style.css", "/js/tiny.js"):
        assert life(web, path + "?ver=0.7.0") == (0, False), path
    assert not list(verify.verify(web.url, os.path.realpath(str(web.static)), release))


@pytest.mark.claim("What changed is served at once, and revalidated from then on")
@pytest.mark.parametrize("name", FILES)
def test_what_changed_under_its_version_is_no_longer_cached_for_good(name, web):
    web.release()
    script = web.public / "js" / "base.js"
    script.write_text("function g() {}\n" * 500)
    web.release()
    for path in ("/js/base.js?ver=0.7.0", "/js/base.js"):
        assert web.get(path)[2] == script.read_bytes()
        assert life(web, path) == (0, False)
    # The next version is another URL, whatever the configuration was written for.
    web.release("0.8.0")
    assert life(web, "/js/base.js?ver=0.8.0") == (YEAR, True)
    assert life(web, "/js/base.js?ver=0.7.0") == (0, False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max-age=0, must-revalidate", "max-age=3600", "for 3600 s without revalidation"),
        ("max-age=31536000, immutable", "max-age=60", "may not be cached for a month"),
        (manifest.LASTING, ".gone", "may not be cached for a month"),
    ],
    ids=["long", "short", "missing"],
)
def test_a_configuration_with_other_lives_is_found(old, new, message, application, tmp_path):
    public = write_public(tmp_path / "public")

    def change(text):
        assert old in text
        return text.replace(old, new)

    server, release = started("nginx", public, application, change=change)
    try:
        found = verify.verify(server.url, os.path.realpath(str(server.static)), release)
        assert any(message in problem.message for problem in found)
    finally:
        server.remove()


@pytest.fixture(scope="module")
def seen(kallithea, built, static_export):
    """What a browser with one profile shows behind each server: by step, the colour by server.

    The theme is an overlay, edited, and then gone, with the styles built again in its place.
    """
    # Web servers read it as users of their own.
    directory = Path(tempfile.mkdtemp(prefix="kallithea-tune-test-"))
    directory.chmod(0o755)
    styles = built / "kallithea" / "public" / "css" / "style.css"
    original, theme = styles.read_text(), directory / "theme" / "css" / "style.css"
    theme.parent.mkdir(parents=True)
    servers, browser = {name: WebServer(name) for name in FILES}, Browser()

    def export(*words):
        result = static_export("-c", kallithea.ini, directory / "static", "--compress", "", *words)
        assert result.returncode == 0, result.stderr

    def colours():
        found = {}
        for name, server in servers.items():
            browser.open(f"{server.url}{kallithea.prefix}/_admin/login")
            found[name] = browser.run("return getComputedStyle(document.body).backgroundColor")
        return found

    def styled(colour):
        return f"{original}\nbody {{ background: {colour} !important }}\n"

    steps = {}
    try:
        theme.write_text(styled("red"))
        for name, server in servers.items():
            words = ("--server", name, "-o", server.conf, "--port", server.port)
            export("--overlay", theme.parents[1], *words, "--server-name", "localhost")
            server.configured()
            server.start()
        browser.start()
        steps["first"] = colours()
        theme.write_text(styled("lime"))
        export()
        steps["edited"] = colours()
        styles.write_text(styled("blue"))
        export("--overlay", "")
        steps["built again"] = colours()
    finally:
        styles.write_text(original)
        for server in (browser, *servers.values()):
            server.remove()
        shutil.rmtree(str(directory))
    return steps


@pytest.mark.claim("A browser shows an edited theme, and styles built again, on the next page")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kallithea", [""], ids=["root"], indirect=True)
def test_a_browser_shows_what_was_exported_last(name, seen):
    assert {step: colours[name] for step, colours in seen.items()} == {
        "first": "rgb(255, 0, 0)",
        "edited": "rgb(0, 255, 0)",
        "built again": "rgb(0, 0, 255)",
    }
