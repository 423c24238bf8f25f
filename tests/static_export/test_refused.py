"""What cannot be is refused in one sentence, before anything is loaded or published."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from security.forked import gearbox

from kallithea_tune.cli.static_export import StaticExportCommand, options_from
from kallithea_tune.config.instance import load
from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export import configure
from kallithea_tune.static_export.options import Options, ServerOptions, validate
from kallithea_tune.static_export.webservers import SERVERS, names
from kallithea_tune.static_export.webservers.site import Backend, Site
from kallithea_tune.static_export.webservers.syntax import Check

# Between servers, with their words for a site's name, for variables, and for what ends a line.
IN_NO_NAME = (
    *(";return 444", "\n", "\r\nx", "\t", " b", "{", "}", "$host", "${b}", '"', "'", "\\", "#b"),
    *("%", "%{b}", "<b>", "(b)", "[b]", "*", "|b", "&", "`b`", ",b", "é", "日", "\u2028b", "\0"),
)
NAMES = (
    *("", " ", "http://host", "https://host/", "host/", "host/path", "a:8443", "//host", "u@host"),
    *("_", "*", "*.example.com", "~^host$", ".example.com", "host.", "a..b", "-a", "a-", "a.-b.c"),
    *("a_b.example.com", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1", "a.1", "[::1]", "::1", "default_"),
    *("x" * 64, ".".join(["x" * 63] * 4), "xn--", "host example.com", "\u0661.example.com"),
)
PREFIXES = (
    *("/a?b", "/a#b", "/a%20b", "/../x", "/a/../b", "/.", "/..", "/a/.", "/./a", "//x", "/x//y"),
    *("/x//", "//", "/.git", "/a/.b", "/é", "/a:b", "/a@b", "/a=b", "/a+b", "/a!b", "?", "/a/*"),
    *("http://host/a", "/a b", " /a", "/a ", "/a^b", "/a.b$", "\\a", "/\u0661\u2044"),
)
BACKENDS = (
    *("", "http://", "http:///", "127.0.0.1:5000", "//h:1", "h:1", "ftp://h", "http:h:1", "x"),
    *(
        "http://h:0",
        "http://h:99999",
        "http://h:",
        "http://h:+1",
        "http://h:1_0",
        "http://h:\u0661",
    ),
    *("http://h:1#x", "http://h#", "http://h:1?", "http://h:1/?x", "http://h:1/a", "http://h:1//"),
    *("http://u:secret@h:1", "http://@h:1", "http://[::1", "http://::1:5000", "http://[h]:1"),
    *("http://[127.0.0.1]:1", "http://[fe80::1%25eth0]:1", "http://[::1]x:1", "http://*:1"),
    *("unix:/run/k.sock", "http://unix:/run/k.sock", "/run/k.sock", " http://h:1", "http://h:1 "),
    *("https://127.0.0.1:1", "https://[::1]:1", "http://1.2.3:1", "http://:5000", "http://h :1"),
)


INI = (
    ("port = 5000", "port = 0", "port in [server:main]: give a port"),
    ("port = 5000", "port = 5000;x", "port in [server:main]: give a port"),
    ("host = 127.0.0.1", "host = a b", "host in [server:main] 'a b' is not a host"),
    ("host = 127.0.0.1", "unix_socket = /run/k", "[server:main] listens on a Unix socket"),
    (
        "[app:main]\n",
        "[app:main]\nremote_addr_variable = HTTP_X;evil\n",
        "remote_addr_variable in [app:main] 'HTTP_X;evil' is not",
    ),
    *(
        (
            "[app:main]\n",
            "[filter:outside]\nuse = egg:PasteDeploy#prefix\nprefix = %s\n\n"
            "[app:main]\nfilter-with = outside\n" % prefix,
            f"prefix in [filter:outside] '{prefix}' is not a prefix",
        )
        for prefix in ("/a?b", "//x", "/.", "/a;b", "/é")
    ),
)


def options(*words: object) -> Options:
    parser = StaticExportCommand(None, None, "static-export").get_parser("gearbox static-export")
    chosen = options_from(parser.parse_args(["-c", "my.ini", "dest", *map(str, words)]))
    validate(chosen)
    return chosen


def refusal(*words: object) -> str:
    """Return why the command would not run."""
    with pytest.raises(ConfigError) as caught:
        options(*words)
    return str(caught.value)


@pytest.mark.claim("Server names, prefixes and backends of any other form are refused first")
@pytest.mark.parametrize("name", [*NAMES, *(f"host{text}" for text in IN_NO_NAME)], ids=ascii)
def test_a_server_name_is_a_host_name(name: str) -> None:
    assert refusal("--server", "nginx", f"--server-name={name}").startswith("--server-name '")


@pytest.mark.claim("Server names, prefixes and backends of any other form are refused first")
@pytest.mark.parametrize("prefix", [*PREFIXES, *(f"/a{text}" for text in IN_NO_NAME)], ids=ascii)
def test_a_prefix_is_a_path_that_needs_no_encoding(prefix: str) -> None:
    assert refusal("--server", "nginx", f"--prefix={prefix}").startswith("--prefix '")


@pytest.mark.claim("Server names, prefixes and backends of any other form are refused first")
@pytest.mark.parametrize("option", ["--backend", "--vcs-backend"])
@pytest.mark.parametrize(
    "url", [*BACKENDS, *(f"http://h{text}:1" for text in IN_NO_NAME)], ids=ascii
)
def test_a_backend_is_a_host_and_a_port(option: str, url: str) -> None:
    message = refusal("--server", "nginx", f"{option}={url}")
    assert message.startswith(option + " ") and "secret" not in message


def test_what_is_right_is_spelled_in_one_way() -> None:
    for given, spelled in (
        *(("localhost", "localhost"), ("Code.Example.COM", "code.example.com")),
        *(("10.0.0.5", "10.0.0.5"), ("xn--bcher-kva.example", "xn--bcher-kva.example")),
        *(("x" * 63 + ".a-1.b", "x" * 63 + ".a-1.b"), ("1a.2b", "1a.2b")),
    ):
        assert names.server_name(given) == spelled
    assert "xn--bcher-kva.example" in refusal("--server=nginx", "--server-name=bücher.example")
    for given, spelled in (
        *(
            ("", ""),
            ("/", ""),
            ("a", "/a"),
            ("/a/", "/a"),
            ("/hosted/kallithea", "/hosted/kallithea"),
        ),
        *(("/~joe/k.v_1-2", "/~joe/k.v_1-2"), ("/A", "/A")),
    ):
        assert names.prefix(given) == spelled
    for given, parts in (
        *(("http://127.0.0.1:5000", ("http", "127.0.0.1", 5000)), ("http://h/", ("http", "h", 80))),
        *(("https://H.example", ("https", "h.example", 443)), ("http://h:01", ("http", "h", 1))),
        ("http://[0:0::1]:5000", ("http", "::1", 5000)),
    ):
        assert names.backend(given) == parts


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--prefix", "/a"], "choose it with --server"),
        (["--tls"], "choose it with --server"),
        (["--server", "nginx", "--hsts", "1"], "--hsts is for a site with --tls"),
        (["--server", "nginx", "--redirect-port", "8080"], "--redirect-port is for a site with"),
        (["--server", "nginx", "--tls", "a"], "--tls takes two files"),
        (["--server", "nginx", "--tls", "a", "b", "c"], "--tls takes two files"),
        (["--server", "nginx", "--tls", "a\n", "b"], "control character"),
        (["--server", "nginx", "--tls"], "nginx does not obtain certificates itself"),
        (["--server", "caddy", "--tls", "--snippet-only"], "--snippet-only"),
        (["--server", "caddy", "--tls", "--port", "80"], "both 80"),
        (["--server", "caddy", "--tls", "--redirect-port", "443"], "both 443"),
        (["--server", "lighttpd"], "--output"),
    ],
)
def test_options_that_contradict_one_another_are_refused(words: "list[str]", sentence: str) -> None:
    assert sentence in refusal(*words)


@pytest.fixture(scope="module")
def keys(programs: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates with their keys, one encrypted."""
    directory = tmp_path_factory.mktemp("keys")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
    for name in ("a", "b"):
        ours = ("-subj", "/CN=localhost", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        programs("openssl", "req", "-x509", "-nodes", *curve, *ours, cwd=directory)
    weak = ("-newkey", "rsa:1024", "-subj", "/CN=a", "-keyout", "weak.key", "-out", "weak.pem")
    programs("openssl", "req", "-x509", "-nodes", *weak, cwd=directory)
    encrypted = ("-aes128", "-passout", "pass:hunter22", "-out", "locked.key")
    programs("openssl", "pkey", "-in", "a.key", *encrypted, cwd=directory)
    (directory / "text").write_text("no PEM\n")
    # As Let's Encrypt has them.
    (directory / "live").mkdir()
    for name in ("a.pem", "a.key"):
        (directory / "live" / name).symlink_to(f"../{name}")
    return directory


@pytest.mark.parametrize(
    "certificate, key, sentence",
    [
        ("none", "a.key", "none cannot be read: No such file"),
        ("a.pem", "none", "none cannot be read: No such file"),
        ("a.pem", "live", "live cannot be read: Is a directory"),
        ("a.key", "a.pem", "a.key is not a certificate in PEM format"),
        ("text", "a.key", "text is not a certificate in PEM format"),
        ("a.pem", "text", "text is not a private key in PEM format"),
        ("a.pem", "a.pem", "a.pem is not a private key in PEM format"),
        ("a.pem", "b.key", "b.key does not belong to "),
        ("weak.pem", "weak.key", "OpenSSL refuses"),
        ("a.pem", "locked.key", "locked.key is encrypted"),
    ],
)
def test_a_certificate_has_its_own_key(
    keys: Path, certificate: str, key: str, sentence: str
) -> None:
    message = refusal("--server", "nginx", "--tls", keys / certificate, keys / key)
    assert message.startswith("--tls") and sentence in message


def test_haproxy_finds_the_key_by_the_name_of_the_certificate(keys: Path, tmp_path: Path) -> None:
    for name in ("a.pem", "a.key"):
        (tmp_path / name).write_bytes((keys / name).read_bytes())
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    assert options("--server=haproxy", "--tls", both, key).server.tls
    message = refusal("--server", "haproxy", "--tls", certificate, key)
    assert message.endswith(f"create it with: ln -s {key} {certificate}.key")
    (tmp_path / "a.pem.key").symlink_to(keys / "b.key")
    assert refusal("--server", "haproxy", "--tls", certificate, key) == message
    (tmp_path / "a.pem.key").unlink()
    subprocess.run(message.rpartition("with: ")[2].split(), check=True)
    assert options("--server=haproxy", "--tls", certificate, key).server.tls


def test_a_certificate_may_be_a_link(keys: Path) -> None:
    tls = options("--server=nginx", "--tls", keys / "live/a.pem", keys / "live/a.key").server.tls
    assert tls and tls.certificate.endswith("live/a.pem")


@pytest.mark.claim("Server names, prefixes and backends of any other form are refused first")
@pytest.mark.parametrize("old, new, sentence", INI, ids=[ascii(case[2]) for case in INI])
def test_the_ini_file_is_read_in_the_same_way(
    instance: Path, edit: Any, old: str, new: str, sentence: str
) -> None:
    edit(instance, old, new)
    with pytest.raises(ConfigError) as caught:
        configure.site_of(load(str(instance)), "/srv/static", ServerOptions(name="nginx"))
    assert str(caught.value).startswith(f"{instance}: ") and sentence in str(caught.value)
    given = ServerOptions(
        "nginx", prefix="", backends=options("--server=nginx", "--backend=http://h").server.backends
    )
    if "HTTP_X" not in new:
        configure.site_of(load(str(instance)), "/srv/static", given)


@pytest.mark.once
@pytest.mark.claim("Nothing is published where a later step is refused")
def test_nothing_is_published_where_a_later_step_is_refused(
    instance: Path, front_end: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "site.conf"
    written.write_bytes(b"# Written by gearbox static-export\n\xff")
    before = sorted(os.listdir(str(tmp_path)))
    # A web server that rejects what was written for it.
    rejecting = Check(("grep",), ("nowhere", "{main}"), lambda _, conf, __: Path(conf).read_text())
    monkeypatch.setitem(SERVERS, "caddy", dataclasses.replace(SERVERS["caddy"], syntax=rejecting))
    dest = tmp_path / "static"
    for status, sentence, words in (
        (2, "site.conf cannot be read", ["--server", "nginx", "-o", written]),
        (2, "site.conf cannot be read", ["--server", "nginx", "-o", written, "-n"]),
        (3, "caddy rejects the configuration", ["--server", "caddy"]),
        (3, "caddy rejects the configuration", ["--server", "caddy", "-n"]),
        (2, "127.0.0.1:1 cannot be reached", ["--verify", "http://127.0.0.1:1"]),
    ):
        done = gearbox("static-export", "-c", instance, dest, "--overlay", front_end, *words)
        said = done.stderr.strip().splitlines()[-1]
        assert done.returncode == status and sentence in said, (words, done.stderr)
        assert sorted(os.listdir(str(tmp_path))) == before


def test_variants_that_a_web_server_cannot_negotiate_are_noted(instance: Path) -> None:
    def notes(name: str, *codings: str) -> str:
        site = Site("/srv/static", ["css"], [], codings, [Backend("localhost", 5000)])
        made = configure.configure(load(str(instance)), site, ServerOptions(name))
        return " ".join(note for note in made.notes if "negotiate" in note)

    assert notes("nginx", "gzip", "br", "zstd").endswith(
        "nginx cannot negotiate zstd: it serves gzip and br, and those variants stay unused"
    )
    assert notes("nginx", "zstd").endswith(
        "zstd: it serves every file uncompressed, and those variants stay unused"
    )
    for name in ("apache", "caddy", "haproxy"):
        assert notes(name, "gzip", "br", "zstd") == ""
