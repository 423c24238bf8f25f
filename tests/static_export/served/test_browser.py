"""A real browser opens Kallithea's pages through each web server: no request fails and the console
is silent.
"""

from __future__ import annotations

import re

import pytest

NAMES = ("apache", "caddy", "haproxy", "lighttpd", "nginx")
PAGES = (
    "/",
    "/hg-one",
    "/git-one",
    "/hg-one/changelog",
    "/hg-one/files/tip/",
    "/hg-one/files/tip/README.rst",
    "/hg-one/edit/default/README.rst",
    "/hg-one/changeset/tip",
    "/_admin/gists",
    "/_admin/my_account",
    "/_admin/settings",
    "/_admin/users",
    "/_admin/repos",
)

# Kallithea's own sheet asks for an icon font that it does not have.
NOWHERE = re.compile(r"/css/none\.(woff2?|ttf)\b")


def looked_at(browser, url, path, directory):
    browser.open(url + path)
    failed = [message for message in browser.failures() if not NOWHERE.search(message)]
    browser.screenshot(directory / ((path.strip("/").replace("/", "-") or "front") + ".png"))
    assert failed == [], path
    # Styled by the exported sheet: without it, the navigation bar would be a plain list on white.
    assert (
        browser.run("return getComputedStyle(document.querySelector('nav')).backgroundColor")
        != "rgba(0, 0, 0, 0)"
    )
    assert browser.run("return typeof jQuery") == "function"


@pytest.mark.parametrize(
    ("kallithea", "name"),
    [("", "nginx"), *(("/hosted", name) for name in NAMES)],
    indirect=["kallithea"],
)
def test_every_page_comes_whole_and_styled(name, browser, kallithea, web_server, tmp_path):
    if name == "haproxy":
        # It serves no files, so it is in front of a server that does.
        inner = web_server("nginx", kallithea.ini)
        server = web_server(
            "haproxy", kallithea.ini, "--backend", "http://127.0.0.1:%d" % inner.port
        )
    else:
        server = web_server(name, kallithea.ini)
    url = server.url + kallithea.prefix
    browser.open(url + "/_admin/login")
    browser.forget()
    looked_at(browser, url, "/_admin/login", tmp_path)
    browser.type("#username", "admin")
    browser.type("#password", "demo-password\n")
    browser.wait(
        "return document.readyState == 'complete' && "
        "document.body.innerHTML.indexOf('/_admin/logout') > 0"
    )
    for path in (*PAGES, kallithea.pull_request):
        looked_at(browser, url, path, tmp_path)
        assert "Sign In" not in browser.title, path
    kinds = browser.run(
        "return performance.getEntriesByType('resource')"
        ".map(function (e) { return new URL(e.name).pathname })"
    )
    assert any(path.startswith(kallithea.prefix + "/js/") for path in kinds)
