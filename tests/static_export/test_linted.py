"""What is written for Caddy is what ``caddy fmt`` would write, and HAProxy warns of nothing."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.webservers import quoting, render
from kallithea_tune.static_export.webservers.site import Backend, Site, Tls

SITE = Site(
    root="/srv/static",
    directories=["css", "js"],
    files=["LICENSES.txt"],
    codings=["gzip", "br"],
    backends=[Backend("127.0.0.1", 5000)],
    name="localhost",
)
TWO = [Backend("127.0.0.1", 5000), Backend("::1", 5001)]
KINDS: "dict[str, dict[str, Any]]" = {
    "plain": {},
    "prefix": {"prefix": "/hosted", "port": 8080, "codings": []},
    "pools": {"backends": TWO, "vcs": TWO, "sticky": True},
    "headers": {"address_header": "X-Real-Ip", "scheme_header": "X-Url-Scheme", "files": []},
    "https": {"backends": [Backend("localhost", 5000, "https")]},
    "tls": {"tls": Tls("site.pem", "site.pem.key", 8080, 600), "port": 8443},
    "automatic": {"tls": Tls(), "port": 443},
}


@pytest.mark.parametrize("snippet", [False, True], ids=["site", "snippet"])
@pytest.mark.parametrize("kind", KINDS)
def test_caddy_fmt_changes_nothing(kind: str, snippet: bool, tmp_path: Path) -> None:
    text = render("caddy", dataclasses.replace(SITE, **KINDS[kind]), snippet)
    (tmp_path / "Caddyfile").write_text(text)
    formatted = subprocess.run(
        ["caddy", "fmt", str(tmp_path / "Caddyfile")],
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    assert formatted.stdout == text


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"automatic"}))
def test_haproxy_warns_of_nothing(kind: str, programs: Any, tmp_path: Path) -> None:
    changes = dict(KINDS[kind])
    if kind == "tls":
        files = ("-keyout", "site.pem.key", "-out", "site.pem")
        words = ("-newkey", "rsa:2048", "-subj", "/CN=localhost", "-nodes", *files)
        programs("openssl", "req", "-x509", *words, cwd=tmp_path)
        path = str(tmp_path / "site.pem")
        changes["tls"] = dataclasses.replace(changes["tls"], certificate=path, key=path + ".key")
    text = render("haproxy", dataclasses.replace(SITE, **changes), False)
    (tmp_path / "haproxy.cfg").write_text(text)
    programs("/usr/sbin/haproxy", "-c", "-dW", "-f", tmp_path / "haproxy.cfg", cwd=tmp_path)


def test_caddy_quotes_what_it_can_hold() -> None:
    for text, word in (
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\b"'),
        ("a\\", "`a\\`"),
        ('a\\"b', '`a\\"b`'),
        ("`a`", '"`a`"'),
        ("#a;b}", '"#a;b}"'),
    ):
        assert quoting.caddy(text) == word
    for text in ("a{b}", "{$HOME}", "`\\"):
        with pytest.raises(ConfigError, match="Caddy cannot contain"):
            quoting.caddy(text)
    assert quoting.haproxy("a'b $c") == r"'a'\''b $c'"
