"""The lines that real web servers write of requests that no browser sends."""

from __future__ import annotations

import socket
from typing import Iterator

import pytest
from servers.web import WebServer

from kallithea_tune.perf_check.load.access_log import Agent, read, request_of
from kallithea_tune.perf_check.load.mix import Kind

pytestmark = pytest.mark.once
NGINX = """
pid {0}/pid;
error_log {0}/error.log;
events {{}}
http {{
    access_log {0}/access.log combined;
    large_client_header_buffers 4 32k;
    client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3;
    uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;
    server {{ listen 127.0.0.1:{1}; location / {{ return 200 "x"; }} }}
}}
"""
APACHE = """
ServerName localhost
PidFile {0}/pid
ErrorLog {0}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LimitRequestLine 32000
LimitRequestFieldSize 32000
Listen 127.0.0.1:{1}
DocumentRoot {0}
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
CustomLog {0}/access.log combined
"""
REQUESTS = (
    (b"/repo/changelog", b"Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"),
    (
        b"/repo/files/tip/",
        b'curl/8 "quoted" \\" \\\\ [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1"',
    ),
    (b"/repo/raw/%ff%22%5c", b"\xff\xfe\x80 \xc3\xa4 bot"),
    (b"/repo/raw/" + b"a" * 8000, b"Mozilla/5.0 " + b"b" * 8000),
    (b'/a"b\\c', b"-"),
    (b"/_admin/gists", b""),
)


class Logging(WebServer):
    """A web server that logs in the combined format, and answers whatever it likes."""

    def ready(self) -> bool:
        """Tell whether it listens, without a request."""
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(params=[("nginx", NGINX), ("apache", APACHE)], ids=["nginx", "apache"])
def server(request: pytest.FixtureRequest) -> Iterator[Logging]:
    name, text = request.param
    started = Logging(name)
    main = started.directory / "main.conf"
    main.write_text(text.format(started.directory, started.port))
    started.own(main)
    started.start()
    yield started
    started.remove()


def _send(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        while connection.recv(1 << 16):
            pass


def test_every_line_of_a_server_is_read(server: Logging) -> None:
    for target, agent in REQUESTS:
        head = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: %s\r\n\r\n"
        _send(server.port, head % (target, agent))
    # TLS, and a line that is no request.
    _send(server.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    _send(server.port, b"HELLO\r\n\r\n")
    server.stop()
    path = server.directory / "access.log"
    found = read(str(path))
    assert (found.lines, found.unread) == (len(REQUESTS) + 2, 0)
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    requests = [request_of(line) for line in lines]
    targets = [request.target for request in requests if request]
    assert [target for target in targets if target.startswith("/repo")][:2] == [
        "/repo/changelog",
        "/repo/files/tip/",
    ]
    assert any(len(target) > 8000 for target in targets)
    assert found.agents[Agent.browser] == 2 and found.agents[Agent.automated] >= 2
    assert found.agents[Agent.unnamed] == 2
    assert found.kinds.get(Kind.changelog, 0) == (1 if server.name == "nginx" else 0)
