"""The tasks that web requests wait for without Celery."""

from __future__ import annotations

import ast
import contextlib
from dataclasses import dataclass
from typing import Iterable, Iterator

from kallithea_tune.app.package import code, sources
from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.perf_check.measurement import Context, Examined, measurement


@dataclass(frozen=True)
class RequestTasks:
    """The names of the tasks inside web requests.

    Nothing is looked for where the application hands its tasks to Celery. `worker_command` starts
    a worker.
    """

    uses_celery: bool
    names: tuple[str, ...] = ()
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
    """Find the tasks in the application's source."""
    instance = context.instance
    if uses_celery(instance):
        return RequestTasks(uses_celery=True)
    names = tuple(tasks_in(code(instance.use)))
    return RequestTasks(False, names, instance.cli("celery-run"))


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
