"""Command lines of servers, as they are in the list of processes."""

from __future__ import annotations

from typing import Optional

import pytest

from kallithea_tune.config import mod_wsgi, server_command
from kallithea_tune.config.server_command import start_of


@pytest.mark.parametrize(
    "line, program, section, options, files",
    [
        ("python gearbox serve -c my.ini", "gearbox", "", {}, ("my.ini",)),
        ("python3.8 -I /b/gearbox serve -cmy.ini --server-name=prod", "gearbox", "prod", {}, None),
        ("gearbox serve --config /my.ini --server-name prod", "gearbox", "prod", {}, ("/my.ini",)),
        ("/v/bin/paster serve my.ini --server-name prod", "paster", "prod", {}, ("my.ini",)),
        ("gearbox serve -s gevent", "gearbox", "", {"use": "egg:gearbox#gevent"}, None),
        ("gearbox serve", "gearbox", "", {}, ("development.ini",)),
        (
            "python -m gunicorn --paste my.ini -w4 -t 600 --threads=2",
            "gunicorn",
            "",
            {"workers": "4", "timeout": "600", "threads": "2", "paste": "my.ini"},
            ("my.ini",),
        ),
        (
            "/b/python3 /b/gunicorn -k gevent --paste my.ini#x -c /etc/g.py --preload",
            "gunicorn",
            "",
            {"worker_class": "gevent", "preload": "true", "preload_app": "true"},
            ("my.ini#x", "/etc/g.py"),
        ),
        ("uwsgi --ini-paste my.ini -p 4", "uwsgi", "", {"processes": "4"}, ("my.ini",)),
        ("/usr/bin/uwsgi-core /etc/uwsgi/k.ini", "uwsgi", "", {}, ("/etc/uwsgi/k.ini",)),
        ("/usr/sbin/apache2 -k start -f /a.conf", "apache", "", {}, ("/a.conf",)),
    ],
)
def test_a_command_line(
    line: str, program: str, section: str, options: "dict[str, str]", files: "Optional[tuple[str]]"
) -> None:
    start = start_of(line.split())
    assert start and (start.section, start.renamed) == (section, False)
    assert start.program.startswith(program) and options.items() <= start.options.items()
    assert files is None or start.files == files


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["vim", "/etc/gunicorn/my.ini"],
        ["sudo", "-u", "kallithea", "gearbox", "serve", "-c", "my.ini"],
        ["gearbox", "perf-check", "-c", "my.ini"],
        ["sh", "-c", "gearbox serve -c my.ini"],
    ],
)
def test_what_serves_nothing(words: "list[str]") -> None:
    assert start_of(words) is None


def test_titles_that_replace_a_command_line() -> None:
    for title in ("gunicorn: master [/srv/my.ini]", "uWSGI worker 2", "(wsgi:kallithea)"):
        start = start_of([title])
        assert start and start.renamed
    start = start_of(["(wsgi:kallithea)     "])
    assert start and start.section == "kallithea"


def test_settings_in_a_file_of_gunicorn() -> None:
    assert server_command.python_settings("import os\nworkers = 4\nbind = 'a:1'\n") == {
        "workers": "4",
        "bind": "a:1",
    }
    assert server_command.python_settings("workers = os.cpu_count()\n") is None
    assert server_command.python_settings("if 1:\n    threads = 4\n") is None
    assert server_command.python_settings("not python at all") is None


APACHE = """
# WSGIDaemonProcess other threads=2
WSGIDaemonProcess kallithea processes=2 \\
    threads=15 maximum-requests=5 display-name=%{GROUP}
WSGIDaemonProcess other threads=3
<VirtualHost *:80>
    WSGIScriptAlias / "/srv/k/dispatch.wsgi" process-group=kallithea
    WSGIScriptAlias /other /srv/other.wsgi process-group=other
</VirtualHost>
"""


def test_the_daemon_processes_of_a_script() -> None:
    (daemon,) = mod_wsgi.daemons({"/etc/a.conf": APACHE}, ["/srv/k/dispatch.wsgi"])
    assert (daemon.name, daemon.server.processes, daemon.server.threads) == ("kallithea", 2, 15)
    assert daemon.server.section == "WSGIDaemonProcess of /etc/a.conf"
    assert mod_wsgi.scripts(APACHE) == ["/srv/k/dispatch.wsgi", "/srv/other.wsgi"]
    assert not list(mod_wsgi.daemons({"/etc/a.conf": APACHE}, ["/srv/none.wsgi"]))
    (embedded,) = mod_wsgi.daemons({"/b": "WSGIScriptAlias / /k.wsgi"}, ["/k.wsgi"])
    assert (embedded.name, embedded.server.threads) == ("", None)


def test_the_script_that_loads_an_ini_file() -> None:
    loads = mod_wsgi.loads
    assert loads("/srv/a.wsgi", "ini = '/srv/k/my.ini'", "/srv/k/my.ini")
    assert loads("/srv/k/a.wsgi", "join(here, 'my.ini')", "/srv/k/my.ini")
    assert not loads("/srv/a.wsgi", "join(here, 'my.ini')", "/srv/k/my.ini")
    assert not loads("/srv/k/a.wsgi", "ini = '/srv/other/my.ini'", "/srv/k/my.ini")
