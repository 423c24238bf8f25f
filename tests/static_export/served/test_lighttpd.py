"""lighttpd's script decides about each request, and nothing that a client sends decides instead."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from servers.site import started, write_public

DEBIANS_PARSING = re.search(
    r"(?ms)^server\.http-parseopts = \(.*?^\)", Path("/etc/lighttpd/lighttpd.conf").read_text()
)


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture
def lighttpd(public, application):
    """Start lighttpd with the written configuration after a `change`."""
    running = []

    def call(pattern, replacement):
        def change(text):
            changed = re.sub(pattern, lambda _: replacement, text, count=1, flags=re.M)
            assert changed != text
            return changed

        server, _ = started("lighttpd", public, application, change, prefix="/p")
        running.append(server)
        return server

    yield call
    for server in running:
        server.remove()


def test_a_query_does_not_choose_who_answers(lighttpd):
    server = lighttpd("$", "\n")
    assert server.get("/p/js/base.js?kallithea")[2] == b"function f() {}\n" * 500
    for query in ("kallithea", "ver=0.7.0", "x"):
        seen = json.loads(server.get(f"/p/js/lib?{query}")[2].decode())
        assert seen["path"] == f"/p/js/lib?{query}"


def test_debians_normalized_urls_arrive_as_they_were_sent(lighttpd):
    assert DEBIANS_PARSING
    server = lighttpd(r"^server\.http-parseopts.*", DEBIANS_PARSING[0])
    for path in ("/p/repo/changeset/a%2Fb%7E?c=%20+", "/p/js/x/../y%2f", "/p//x"):
        assert json.loads(server.get(path)[2].decode())["path"] == path


def test_in_a_wrong_order_of_modules_nothing_seems_to_work(lighttpd):
    server = lighttpd('"mod_magnet", "mod_proxy"', '"mod_proxy", "mod_magnet"')
    assert server.get("/p/js/base.js")[0] == 200 and server.get("/p/repo")[0] == 404


def test_each_coding_has_an_etag_of_its_own(lighttpd):
    server = lighttpd("$", "\n")
    tags = {
        server.get("/p/js/base.js", Accept_Encoding=coding)[1]["etag"]
        for coding in ("identity", "gzip", "br")
    }
    assert len(tags) == 3
