"""What is read from server sections, against Kallithea's own templates and the limits of real
servers.
"""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Mapping

import pytest
from servers.server import free_port

from kallithea_tune.config import instance
from kallithea_tune.config.wsgi_server import HG_HEADER, UNLIMITED, Server, server_of

APPLICATION = "[app:main]\nuse = egg:kallithea\nsqlalchemy.url = sqlite://\n"


def server(tmp_path: Path, text: str) -> Server:
    ini = tmp_path / "server.ini"
    ini.write_text(text + "\n" + APPLICATION)
    return server_of(instance.load(str(ini)))


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the ini file that Kallithea makes for each server it knows."""
    directory = tmp_path_factory.mktemp("templates")
    program = (
        "import kallithea.lib.inifile as inifile\n"
        "for name in inifile.variable_options['http_server']:\n"
        "    values = dict(inifile.default_variables, http_server=name, here='.')\n"
        "    values['uuid'] = lambda: 'secret'\n"
        "    inifile.create(name + '.ini', values, {})\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=str(directory), check=True)
    return directory


@pytest.mark.parametrize(
    "name, kind, processes, threads",
    [
        ("waitress", "waitress", 1, 1),
        ("gearbox", "wsgiref", 1, 1),
        ("gevent", "gevent", 1, UNLIMITED),
        ("gunicorn", "gunicorn", 4, 1),
        ("uwsgi", "uwsgi", 4, 1),
    ],
)
def test_the_servers_of_kallitheas_own_template(
    templates: Path, name: str, kind: str, processes: int, threads: int
) -> None:
    found = server_of(instance.load(str(templates / (name + ".ini"))))
    assert (found.kind, found.processes, found.threads) == (kind, processes, threads)
    if name == "uwsgi":
        assert found.header_bytes == 65535 and found.body_bytes == UNLIMITED
    if name == "waitress":
        assert found.body_bytes == 107374182400


@pytest.mark.parametrize(
    "section, expected",
    [
        (
            "[server:main]\nuse = egg:waitress#main",
            {"processes": 1, "threads": 4, "body_bytes": 1 << 30},
        ),
        (
            "[server:main]\nuse = egg:waitress\nmax_request_header_size = %d" % HG_HEADER,
            {"header_option": "max_request_header_size"},
        ),
        ("[server:main]\nuse = egg:waitress\nthreads = many", {"threads": None}),
        (
            "[server:main]\nuse = egg:gunicorn#main",
            {"processes": 1, "threads": 1, "header_bytes": 90 * HG_HEADER},
        ),
        (
            "[server:main]\nuse = egg:gunicorn\nworkers = 3\nworker_class = gevent",
            {"processes": 3, "threads": 1000},
        ),
        (
            "[server:main]\nuse = egg:gunicorn\nworker_class = eventlet\nworker_connections = 9",
            {"threads": 9},
        ),
        (
            "[server:main]\nuse = egg:gunicorn\nconfig = g.py",
            {"processes": None, "threads": None, "header_bytes": None},
        ),
        ("[server:main]\nuse = egg:gunicorn\nconfig = g.py\nworkers = 2", {"processes": 2}),
        ("[server:main]\nuse = egg:gunicorn\nlimit_request_field_size = 500", {"header_bytes": 0}),
        ("[server:main]\nuse = egg:Paste#http", {"kind": "Paste", "processes": 1, "threads": 10}),
        ("[server:main]\nuse = egg:Paste#http\nuse_threadpool = false", {"threads": UNLIMITED}),
        (
            "[server:main]\nuse = egg:gearbox#wsgiref\nwsgiref.threaded = true",
            {"threads": UNLIMITED},
        ),
        ("[server:main]\nuse = egg:gearbox#cherrypy", {"kind": "CherryPy", "threads": 10}),
        (
            "[server:main]\nuse = egg:other#main\nthreads = 3",
            {"kind": "", "processes": None, "threads": 3},
        ),
        ("", {"kind": "", "use": "no server section", "threads": None, "body_bytes": None}),
        (
            "[uwsgi]\nhttp-socket = :5000",
            {"processes": 1, "threads": 1, "header_bytes": 4096, "body_bytes": UNLIMITED},
        ),
        (
            "[uwsgi]\nprocesses = 8 ; of 8 cores\nthreads = 2\nlimit-post = 1000",
            {"processes": 8, "threads": 2, "body_bytes": 1000},
        ),
        ("[uwsgi]\nworkers = 2\ngevent = 50", {"processes": 2, "threads": 50}),
        ("[uwsgi]\nprocesses = %%k", {"processes": None}),
        ("[uwsgi]\nharakiri = 60", {"request_seconds": 60, "time_option": "harakiri"}),
        ("[uwsgi]\nprocesses = 2", {"request_seconds": UNLIMITED, "chunks": True}),
        ("[uwsgi]\nhttp-socket = :5000", {"chunks": False}),
        ("[uwsgi]\nhttp = :5000", {"chunks": False}),
        ("[uwsgi]\nsocket = 127.0.0.1:5000", {"chunks": True}),
        ("[server:main]\nuse = egg:waitress", {"request_seconds": UNLIMITED}),
        ("[server:main]\nuse = egg:gunicorn", {"request_seconds": 30}),
        ("[server:main]\nuse = egg:gunicorn\ntimeout = 0", {"request_seconds": UNLIMITED}),
        ("[server:main]\nuse = egg:gunicorn\nconfig = g.py", {"request_seconds": None}),
        (
            "[server:main]\nuse = egg:gunicorn\nworker_class = gevent",
            {"request_seconds": UNLIMITED},
        ),
    ],
)
def test_settings_and_the_servers_own_defaults(
    tmp_path: Path, section: str, expected: Mapping[str, Any]
) -> None:
    found = server(tmp_path, section)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    "serve, section",
    [
        (
            "import waitress; waitress.serve(app, host='127.0.0.1', port=port)",
            "[server:main]\nuse = egg:waitress",
        ),
        (
            "from paste import httpserver; httpserver.serve(app, '127.0.0.1', port)",
            "[server:main]\nuse = egg:Paste#http",
        ),
        (
            "from wsgiref.simple_server import make_server\n"
            "make_server('127.0.0.1', port, app).serve_forever()",
            "[server:main]\nuse = egg:gearbox#wsgiref",
        ),
        (
            "from gunicorn.app.wsgiapp import WSGIApplication\n"
            "class Served(WSGIApplication):\n"
            "    def load_config(self): self.cfg.set('bind', '127.0.0.1:%d' % port)\n"
            "    def load(self): return app\n"
            "Served().run()",
            "[server:main]\nuse = egg:gunicorn",
        ),
    ],
)
@pytest.mark.slow
def test_a_real_server_takes_the_headers_that_are_said_to_fit_and_no_more(
    tmp_path: Path, serve: str, section: str
) -> None:
    port = free_port()
    app = "def app(e, s):\n    s('200 OK', [('Content-Length', '0')])\n    return [b'']\n"
    process = subprocess.Popen(
        [sys.executable, "-c", app + "port = %d\n%s" % (port, serve)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        fits = (server(tmp_path, section).header_bytes or 0) // HG_HEADER
        # A few more than the allowance for other headers is certainly too many.
        assert [status_of(port, fits - 1), status_of(port, fits + 11)] == [200, 431]
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("option", ["", "buffer-size = 20000"])
@pytest.mark.slow
def test_uwsgi_takes_the_headers_that_are_said_to_fit_and_hangs_up_on_more(
    tmp_path: Path, option: str
) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text(
        "def application(e, s):\n    s('200 OK', [('Content-Length', '0')])\n    return [b'']\n"
    )
    section = "[uwsgi]\nplugin = python3\nhttp-socket = 127.0.0.1:%d\nwsgi-file = app.py\n%s" % (
        port,
        option,
    )
    fits = (server(tmp_path, section).header_bytes or 0) // HG_HEADER
    process = subprocess.Popen(
        ["uwsgi", "--ini", "server.ini"],
        cwd=str(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert status_of(port, fits - 1) == 200
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            status_of(port, fits + 1)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def status_of(port: int, headers: int) -> int:
    """Send as many full headers of arguments as Mercurial would; return the status."""
    give_up = time.monotonic() + 120
    names = ["X-HgArg-%d" % ((number + 1,)) for number in range(headers)]
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(
                "GET", "/", headers={name: "a" * (HG_HEADER - len(name) - 4) for name in names}
            )
            return connection.getresponse().status
        except ConnectionRefusedError:
            assert time.monotonic() < give_up
            time.sleep(0.1)
        finally:
            connection.close()


@pytest.mark.parametrize("timeout, complete", [("timeout = 2", False), ("timeout = 60", True)])
@pytest.mark.slow
def test_gunicorn_cuts_off_what_takes_longer_than_its_timeout(
    tmp_path: Path, timeout: str, complete: bool
) -> None:
    port = free_port()
    found = server(tmp_path, "[server:main]\nuse = egg:gunicorn\n" + timeout)
    app = (
        "import time\n"
        "def app(e, s):\n"
        "    s('200 OK', [('Content-Length', '8')])\n"
        "    for _ in range(8):\n"
        "        time.sleep(1)\n"
        "        yield b'x'\n"
    )
    (tmp_path / "slow.py").write_text(app)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-b",
            "127.0.0.1:%d" % port,
            "-t",
            str(found.request_seconds),
            "slow:app",
        ],
        cwd=str(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        try:
            body = answer.read()
        except (http.client.IncompleteRead, ConnectionResetError):
            body = b""
        # It writes the page that tells of the error into the middle of what it has sent.
        assert (body == b"x" * 8) is complete
        connection.close()
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Wait until something listens."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
