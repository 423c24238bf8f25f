"""What is wrong with the processes around Kallithea."""

from __future__ import annotations

import socket
import sqlite3
import urllib.request

from databases import on_postgresql
from servers.rabbitmq import RabbitMQ
from servers.server import free_port
from state import BIN, Planted, state


def _mute(planted: Planted) -> int:
    """Listen on a port, accept and never answer."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    planted.stack.callback(listener.close)
    return listener.getsockname()[1]


@state("WEB001")
def second_server(planted: Planted) -> None:
    """Another [server:..] serves, with ten threads."""
    port = free_port()
    with open(planted.ini, "a") as file:
        file.write(
            f"\n[server:prod]\nuse = egg:waitress#main\nhost = 127.0.0.1\nport = {port}\n"
            "threads = 10\n"
        )
    planted.start(
        BIN / "gearbox",
        *("serve", "-c", planted.ini, "--server-name", "prod"),
        ready=lambda: _listens(port),
    )


@state("WEB001")
def mod_wsgi(planted: Planted) -> None:
    """Mod_wsgi with 15 threads in one process."""
    (planted.directory / "dispatch.wsgi").write_text(
        f"from paste.deploy import loadapp\napplication = loadapp('config:{planted.ini}')\n"
    )
    (planted.directory / "apache-kallithea.conf").write_text(
        "WSGIDaemonProcess kallithea processes=1 threads=15 maximum-requests=5\n"
        "WSGIProcessGroup kallithea\n"
        f"WSGIScriptAlias / {planted.directory}/dispatch.wsgi\n"
    )


@state("DB019")
def writer(planted: Planted) -> None:
    """A writer holds SQLite for minutes."""
    connection = sqlite3.connect(
        str(planted.directory / "kallithea.db"), isolation_level=None, check_same_thread=False
    )
    planted.stack.callback(connection.close)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE users SET lastname = lastname")


@state("AUTH001")
def log_in(planted: Planted) -> None:
    """A log-in server that never answers."""
    values = {
        "auth_crowd_enabled": "True",
        "auth_crowd_host": "127.0.0.1",
        "auth_crowd_port": str(_mute(planted)),
        "auth_crowd_app_name": "kallithea",
        "auth_crowd_app_password": "secret",
        "auth_crowd_method": "http",
    }
    plugins = "kallithea.lib.auth_modules.auth_crowd,kallithea.lib.auth_modules.auth_internal"
    planted.sql(
        "DELETE FROM settings WHERE app_settings_name LIKE 'auth_crowd%';"
        f"UPDATE settings SET app_settings_value = '{plugins}'"
        " WHERE app_settings_name = 'auth_plugins';"
        + "".join(
            "INSERT INTO settings (app_settings_name, app_settings_value, app_settings_type)"
            f" VALUES ('{name}', '{value}', 'unicode');"
            for name, value in values.items()
        )
    )


@state("MAIL001")
def mail(planted: Planted) -> None:
    """Mail inside requests, by a server that never answers."""
    planted.replace("smtp_server =", "smtp_server = 127.0.0.1")
    planted.replace("smtp_port =\n", f"smtp_port = {_mute(planted)}\n")


@state("PROG001")
def wrapper(planted: Planted) -> None:
    """Git_path is a wrapper that takes 0.7 s."""
    path = planted.directory / "slowgit"
    path.write_text('#!/bin/sh\nsleep 0.7\nexec git "$@"\n')
    path.chmod(0o755)
    planted.replace("git_path = git", f"git_path = {path}")


def _broker(planted: Planted) -> RabbitMQ:
    broker = RabbitMQ()
    planted.stack.callback(broker.remove)
    broker.start()
    planted.replace(
        "use_celery = false",
        "use_celery = true",
        "amqp://kallithea:thepassword@localhost:5672/kallitheavhost",
        broker.url,
    )
    return broker


def _queue(url: str, count: int) -> None:
    from kombu import Connection

    with Connection(url) as connection:
        queue = connection.SimpleQueue("celery")
        for number in range(count):
            headers = {"task": "unknown", "id": str(number)}
            queue.put({"id": str(number)}, headers=headers)
        queue.close()


@state("CEL003")
def no_worker(planted: Planted) -> None:
    """5,000 tasks wait without a worker."""
    _queue(_broker(planted).url, 5000)


@state("CEL003")
def other_queue(planted: Planted) -> None:
    """The worker consumes another queue."""
    broker = _broker(planted)
    _queue(broker.url, 60)
    _worker(planted, broker.url, "other")


def _worker(planted: Planted, url: str, queue: str) -> None:
    planted.start(
        BIN / "kallithea-cli",
        *("celery-run", "-c", planted.ini, "--", "-Q", queue),
        ready=lambda: _consumers(url, queue) > 0,
    )


def _consumers(url: str, queue: str) -> int:
    from amqp.exceptions import NotFound
    from kombu import Connection

    with Connection(url) as connection:
        try:
            return int(connection.channel().queue_declare(queue, passive=True).consumer_count)
        except NotFound:
            return 0


@state("WEB011")
def shared_connections(planted: Planted) -> None:
    """Gunicorn's workers share their connections."""
    on_postgresql(planted)
    port = _gunicorn(planted)
    planted.start(BIN / "gearbox", "serve", "-c", planted.ini, ready=lambda: _listens(port))
    _visit(port)


def serve(planted: Planted) -> None:
    """Serve the instance by gunicorn, each of whose workers loads it."""
    port = _gunicorn(planted)
    command = [BIN / "gunicorn", "--paste", planted.ini, "--workers", "3", "--timeout", "3600"]
    planted.start(*command, "--bind", f"127.0.0.1:{port}", ready=lambda: _listens(port))
    _visit(port)


def _gunicorn(planted: Planted) -> int:
    port = free_port()
    planted.replace("port = 5000", f"port = {port}")
    if "egg:waitress" in planted.ini.read_text():
        planted.use_gunicorn("workers = 3", "timeout = 3600")
    return port


def _visit(port: int) -> None:
    """Request a few pages, so that the workers have connections."""
    for _ in range(6):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            answer.read()


def with_worker(planted: Planted) -> None:
    """Have a broker, and a worker that consumes what Kallithea sends."""
    _worker(planted, _broker(planted).url, "celery")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
