"""The revisions of the schema that the application's migrations know, read without importing
them.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from typing import Iterator, Mapping

from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import as_bool
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system.files import entries

Revisions = Mapping[str, "frozenset[str]"]


@dataclass(frozen=True)
class Migrations:
    """Each revision with those it follows; `starts_anyway` is ignore_alembic_revision of `ini`."""

    revisions: Revisions
    ini: str
    starts_anyway: bool

    @property
    def heads(self) -> list[str]:
        """The newest revisions: those that no other follows."""
        followed = {previous for parents in self.revisions.values() for previous in parents}
        return sorted(set(self.revisions) - followed)

    @property
    def examined(self) -> Examined:
        """The revisions."""
        return Examined(len(self.revisions), len(self.revisions), "revision")


@measurement()
def migrations(context: Context) -> Migrations:
    """Read the application's migrations as text.

    Raises NotMeasured where the application's package is not found.
    """
    instance = context.instance
    ignored = as_bool(instance.settings.get("ignore_alembic_revision", "false"))
    return Migrations(read_revisions(package_directory()), instance.path, ignored)


def read_revisions(package: str) -> Revisions:
    """Return the revisions in Alembic's scripts below the directory `package`, unimported."""
    revisions = {}
    for entry in entries(os.path.join(package, "alembic", "versions")):
        if entry.name.endswith(".py"):
            with open(entry.path, encoding="utf-8") as file:
                constants = dict(_constants(ast.parse(file.read())))
            revision, parents = constants.get("revision"), constants.get("down_revision") or ()
            if isinstance(revision, str) and isinstance(parents, (str, tuple, list)):
                revisions[revision] = frozenset([parents] if isinstance(parents, str) else parents)
    return revisions


def _constants(tree: ast.Module) -> Iterator[tuple[str, object]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                yield node.targets[0].id, ast.literal_eval(node.value)
            except ValueError:
                continue
