"""Two versions of one size and time have different ETags, so no browser keeps the old one."""

from __future__ import annotations

import os
import zlib

import pytest
from servers.site import CODINGS, site_for
from servers.web import WebServer

from kallithea_tune.static_export.release import compress, destination, publish, stage
from kallithea_tune.static_export.release.manifest import Recipe
from kallithea_tune.static_export.release.plan import Served, make
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.verify import files as verify
from kallithea_tune.static_export.webservers import render, render_script

# 1980, the earliest time of zip archives, which reproducible packages give to all files.
PACKED = 315532800
SHEET = "css/style.css"


@pytest.fixture(scope="module")
def versions():
    """Two texts of one size, which have one size when compressed, too."""
    seen: dict[tuple[int, ...], bytes] = {}
    for number in range(10000):
        text = b"".join(
            b"/* %08x */\n" % zlib.crc32(b"%d %d" % (number, line)) for line in range(40)
        )
        sizes = tuple(len(compress.CODINGS[coding].compress(text)) for coding in CODINGS)
        if sizes in seen:
            return seen[sizes], text
        seen[sizes] = text
    raise AssertionError


@pytest.fixture
def install(tmp_path):
    """Install a version of an application as pip does, a new file in place of the old, and publish
    it to `place`.
    """
    root = tmp_path / "public"

    def call(content, place, **recipe):
        made = root / "new"
        (root / SHEET).parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(content)
        os.utime(str(made), (PACKED, PACKED))
        made.rename(root / SHEET)
        before = destination.published(str(place))
        served = Served(
            "kallithea", "1", (str(root),), collect([str(root)], before.sources if before else {})
        )
        return publish.publish(
            make(before, served, Recipe(codings=tuple(CODINGS), **recipe)), str(place)
        )

    return call


@pytest.mark.parametrize("name", ["apache", "caddy", "lighttpd", "nginx"])
def test_a_browser_is_not_told_to_keep_the_old_file(name, application, versions, install):
    old, new = versions
    server = WebServer(name)
    try:
        release = install(old, server.static)
        site = site_for(server, release, application)
        server.conf.write_text(render(name, site, False))
        if site.script:
            with open(site.script, "w") as script:
                script.write(render_script(name, site))
        server.configured()
        server.start()
        got = {
            coding: server.get("/" + SHEET, Accept_Encoding=coding)
            for coding in ("identity", *CODINGS)
        }
        kept = {coding: headers for coding, (_, headers, _) in got.items()}
        assert all(
            headers.get("content-encoding", "identity") == coding
            for coding, headers in kept.items()
        )
        install(new, server.static)
        for coding, headers in kept.items():
            for condition in (
                {"If_None_Match": headers["etag"]},
                {"If_Modified_Since": headers["last-modified"]},
            ):
                status, _, body = server.get("/" + SHEET, Accept_Encoding=coding, **condition)
                assert (status, verify.decoded(body, coding)) == (200, new), (coding, condition)
    finally:
        server.remove()


@pytest.mark.parametrize("how", stage.HOW)
def test_each_content_has_a_time_of_its_own_there_and_back(how, versions, install, tmp_path):
    place, times = tmp_path / "static", []
    for content, mode in (
        (versions[0], 0o644),
        (versions[1], 0o644),
        (versions[1], 0o640),
        (versions[0], 0o640),
    ):
        install(content, place, how=how, mode=mode)
        assert (place / SHEET).read_bytes() == content
        assert (place / (SHEET + ".gz")).stat().st_mtime == (place / SHEET).stat().st_mtime
        times.append(int((place / SHEET).stat().st_mtime))
    assert times == [PACKED, PACKED + 1, PACKED + 1, PACKED + 2]
