"""What an overlay has below .well-known, served by every web server; other dot files never."""

from __future__ import annotations

import pytest
from servers.site import started


@pytest.mark.claim("What an overlay has below .well-known is served, and nothing else hidden")
@pytest.mark.parametrize("name", ["apache", "caddy", "lighttpd", "nginx"])
def test_well_known_files_are_served_and_hidden_ones_are_not(name, application, tmp_path):
    known = tmp_path / "theme" / ".well-known" / "security.txt"
    known.parent.mkdir(parents=True)
    known.write_text("Contact: mailto:security@example.com\n" * 20)
    server, _ = started(name, tmp_path / "theme", application)
    try:
        content = known.read_bytes()
        status, headers, body = server.get("/.well-known/security.txt")
        assert (status, body) == (200, content) and headers["content-type"].startswith("text/plain")
        (server.static / ".well-known" / ".htaccess").write_text("hidden")
        for path in (".kallithea-tune.json", ".sealed.json", ".release", ".well-known/.htaccess"):
            assert server.get("/" + path)[2] != (server.static / path).read_bytes()
    finally:
        server.remove()
