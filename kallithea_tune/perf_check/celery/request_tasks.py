"""The tasks that web requests wait for without Celery, and the mail server that mails wait for."""

from __future__ import annotations

import ast
import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional

from kallithea_tune.app.package import code, sources
from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

CONNECT_SECONDS = 2


@dataclass(frozen=True)
class Greeting:
    """The milliseconds until a mail server greeted, or why it `failed` to."""

    ms: Optional[float] = None
    failed: str = ""


@dataclass(frozen=True)
class RequestTasks:
    """The names of the tasks inside web requests; `mail` is None where no server is set.

    Nothing is looked for where the application hands its tasks to Celery. `worker_command` starts
    a worker.
    """

    uses_celery: bool
    names: tuple[str, ...] = ()
    mail: Optional[Greeting] = None
    worker_command: str = ""

    @property
    def examined(self) -> Examined:
        """The tasks found."""
        return Examined(len(self.names), len(self.names), "task")


def uses_celery(instance: Instance) -> bool:
    """Whether the application hands tasks to Celery."""
    return as_bool(instance.settings.get("use_celery", "false"))


@measurement(seconds=0.6)
def request_tasks(context: Context) -> RequestTasks:
    """Find the tasks in the application's source and wait for the mail server's greeting."""
    instance = context.instance
    if uses_celery(instance):
        return RequestTasks(uses_celery=True)
    names = tuple(tasks_in(code(instance.use)))
    mail = None
    host = instance.settings.get("smtp_server", "").strip()
    if host:
        port = int(instance.settings.get("smtp_port", "").strip() or 25)
        mail = child.call(greet, CONNECT_SECONDS + 3, host=host, port=port)
    return RequestTasks(False, names, mail, instance.cli("celery-run"))


def tasks_in(packages: Iterable[str]) -> list[str]:
    """Return the names of the functions in `packages` that are decorated with Celery's ``task``.

    Nothing is imported; a module that does not compile has no tasks.
    """
    found: set[str] = set()
    for path in sources(packages):
        with open(path, "rb") as file:
            source = file.read()
        if b".task" in source:
            with contextlib.suppress(SyntaxError, ValueError):
                found.update(_decorated(ast.parse(source)))
    return sorted(found)


def _decorated(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Attribute) and decorator.attr == "task":
                    yield node.name


def greet(host: str, port: int) -> Greeting:
    """Connect to a mail server, read its greeting and send QUIT, so no mail; for a child."""
    started = time.perf_counter()
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection:
            greeting = connection.recv(512)
            ms = (time.perf_counter() - started) * 1000
            connection.sendall(b"QUIT\r\n")
    except OSError as error:
        return Greeting(failed=error.strerror or str(error))
    if not greeting.startswith(b"220"):
        return Greeting(failed=f"it greeted with {greeting[:40].decode('latin-1')!r}")
    return Greeting(ms)
