"""Every form of what is written for nginx, read by gixy-ng and by nginx itself."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from servers.application import BIN
from servers.site import started, write_public

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import LASTING
from kallithea_tune.static_export.webservers import quoting, render, syntax
from kallithea_tune.static_export.webservers.site import Backend, Site, Tls

# Of the checks of gixy-ng 0.2.59, the only one that reports anything. With open_file_cache, which
# it misses, nginx would serve files of a release that has been replaced, for a minute by default.
SKIPPED = "try_files_is_evil_too"
FORMS = {
    "root": {},
    "prefix": {"prefix": "/hosted/kallithea"},
    "uncompressed": {"codings": []},
    "pools": {"backends": ["http://127.0.0.1:5000", "http://[::1]:5001"], "sticky": True},
    "vcs": {"vcs": ["http://127.0.0.1:5002", "http://127.0.0.1:5003"]},
    "https": {"backends": ["https://localhost:5000"]},
    "tls": {"tls": True, "port": 61443},
}
SNIPPETS = ("root", "prefix", "uncompressed", "https")
SURROUNDING = "server {\nlisten 61080;\nserver_name localhost;\nserver_tokens off;\n%s}\n"


@pytest.fixture(scope="module")
def certificate_files(programs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    files = [str(directory / name) for name in ("fullchain.pem", "privkey.pem")]
    programs(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-out", files[0], "-keyout", files[1]),
        cwd=directory,
    )
    return files


def written(form, snippet, certificate_files, **more):
    """Return a form of the configuration, a snippet within a site."""
    fields = dict({"port": 61080, "codings": ["gzip", "br"]}, **FORMS[form], **more)
    for pool in ("backends", "vcs"):
        fields[pool] = [Backend.from_url(url) for url in fields.get(pool, ())]
    fields["backends"] = fields["backends"] or [Backend.from_url("http://127.0.0.1:5000")]
    if "tls" in fields:
        fields["tls"] = Tls(*certificate_files, redirect_port=61081, hsts=63072000)
    site = Site("/srv/a static", ["css", "js"], ["LICENSES.txt"], **fields)
    text = render("nginx", site, snippet)
    return SURROUNDING % text if snippet else text


def reported(directory, texts):
    """Return what gixy-ng says about each text, with a configuration around it."""
    mains = []
    for name, text in texts.items():
        site, main = directory / f"{name}.conf", directory / f"{name}.main"
        site.write_text(text)
        main.write_text(syntax.NGINX.wrap(str(directory), str(site), False))
        mains.append(str(main))
    result = subprocess.run(
        [str(BIN / "gixy"), "-f", "json", "--skips", SKIPPED, *mains],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert result.stdout, result.stderr
    return [(Path(item["path"]).stem, item["plugin"]) for item in json.loads(result.stdout)]


@pytest.mark.claim("The configuration passes the server's own check and a linter")
@pytest.mark.parametrize("name", ["nginx"])
def test_nginx_and_gixy_find_nothing(name, certificate_files, tmp_path):
    texts = {form: written(form, False, certificate_files) for form in FORMS}
    for form in SNIPPETS:
        texts[f"{form}-snippet"] = written(form, True, certificate_files)
    for form, text in texts.items():
        assert syntax.complaint(syntax.NGINX, text, False) == "", form
    naive = "server {\nserver_name a;\nlocation /css { alias /srv/css/; }\n}\n"
    assert set(reported(tmp_path, {**texts, "naive": naive})) == {
        ("naive", "alias_traversal"),
        ("naive", "version_disclosure"),
    }


def test_one_nginx_serves_two_sites(certificate_files):
    sites = [written("vcs", False, certificate_files, name=name) for name in ("one", "two")]
    assert syntax.complaint(syntax.NGINX, "".join(sites), False) == ""


@pytest.mark.parametrize(
    "backends",
    [
        ["https://one.example", "https://two.example"],
        ["https://one.example:1", "http://one.example:2"],
    ],
)
def test_what_nginx_could_not_verify_is_refused(backends):
    site = Site("/srv/static", [], [], [], [Backend.from_url(url) for url in backends])
    with pytest.raises(ConfigError, match="one host name"):
        render("nginx", site, False)


def test_words_are_quoted_as_nginx_reads_them():
    for text, word in (
        ("a b;{}#'", '"a b;{}#\'"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\b"'),
        ("a\\tb", r'"a\\tb"'),
        ('a\\"b', r'"a\\\"b"'),
        ("a\\", r'"a\\"'),
    ):
        assert quoting.nginx(text) == word
    with pytest.raises(ConfigError, match="variable"):
        quoting.nginx("a$b")


def test_a_file_that_goes_after_nginx_looked_is_looked_for_in_the_new_release(
    application, tmp_path
):
    server, _ = started("nginx", write_public(tmp_path / "public"), application)
    try:
        (worker,) = psutil.Process(server.pid).children()
        lasting = server.static / LASTING / "0.7.0" / "js" / "base.js"
        inject = ("-P", lasting, "-e", "trace=openat", "-e", "inject=openat:error=ENOENT")
        strace = subprocess.Popen(["strace", "-qq", *map(str, inject), "-p", str(worker.pid)])
        try:
            status = Path(f"/proc/{worker.pid}/status")
            while "TracerPid:\t0" in status.read_text():
                time.sleep(0.05)
            code, headers, body = server.get("/js/base.js?ver=0.7.0")
        finally:
            strace.terminate()
            strace.wait()
        assert (code, headers["cache-control"]) == (200, "public, max-age=0, must-revalidate")
        assert body == b"function f() {}\n" * 500
    finally:
        server.remove()
