"""Where an application finds one of its settings, and changes that are undone if they fail."""

from __future__ import annotations

import os
from typing import Callable, NamedTuple, Optional, Sequence

from kallithea_tune.config import inifile, pastedeploy
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import ConfigError
from kallithea_tune.system import interruption


class Place(NamedTuple):
    """A file and a section in it."""

    path: str
    section: str


def find(instance: Instance, option: str) -> Optional[Place]:
    """Return the place from which the application reads `option`; None where nothing sets it.

    PasteDeploy's order: ``[DEFAULT]`` wins over the section, and that over what its ``use`` refers
    to, which may be in another file. Raises ConfigError where it is set in a way that cannot be
    edited.
    """
    if option in pastedeploy.raw(instance.path).defaults():
        return Place(instance.path, "DEFAULT")
    options = instance.sections.get(instance.section, {})
    for form in ("set ", "get "):
        if form + option in options:
            raise ConfigError(
                f"{instance.path} sets {option} by '{form + option}' in [{instance.section}]; "
                "change that line by hand"
            )
    if option in options:
        return Place(instance.path, instance.section)
    scheme, _, rest = options.get("use", "").partition(":")
    if scheme == "config":
        return find(load(os.path.join(os.path.dirname(instance.path), rest)), option)
    return find(load(f"{instance.path}#{scheme}"), option) if scheme and not rest else None


def apply(edits: Sequence[inifile.Edit], works: Callable[[], bool]) -> list[str]:
    """Write the edits that change anything, in turn; return the paths of their backups.

    Where `works` then returns False, or anything fails, every file is restored and the list is
    empty.
    """
    written: list[tuple[str, str]] = []
    keep = False
    try:
        interruption.check()
        with interruption.deferred():
            for edit in edits:
                if not edit.is_empty:
                    written.append((inifile.write(edit), edit.path))
        keep = works()
    finally:
        if not keep:
            with interruption.deferred():
                for backup, path in reversed(written):
                    os.replace(backup, path)
    return [backup for backup, _ in written] if keep else []
