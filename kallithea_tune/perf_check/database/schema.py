"""The revisions of the schema that the application's migrations know, read without importing
them.
"""

from __future__ import annotations

import ast
import os
from typing import Iterator, Mapping

from kallithea_tune.system.files import entries

Revisions = Mapping[str, "frozenset[str]"]


def revisions(package: str) -> Revisions:
    """Return each revision of Alembic's scripts below the directory `package` with those it
    follows, unimported.
    """
    found = {}
    for entry in entries(os.path.join(package, "alembic", "versions")):
        if entry.name.endswith(".py"):
            with open(entry.path, encoding="utf-8") as file:
                named = dict(_constants(ast.parse(file.read())))
            before = named.get("down_revision") or ()
            if isinstance(named.get("revision"), str) and isinstance(before, (str, tuple, list)):
                found[str(named["revision"])] = frozenset(
                    [before] if isinstance(before, str) else before
                )
    return found


def _constants(tree: ast.Module) -> Iterator[tuple[str, object]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                yield node.targets[0].id, ast.literal_eval(node.value)
            except ValueError:
                continue


def heads(known: Revisions) -> list[str]:
    """Return the newest revisions: those that none follows."""
    return sorted(set(known) - {revision for before in known.values() for revision in before})
