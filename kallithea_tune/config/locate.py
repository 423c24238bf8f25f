"""One setting of an application: where it really stands, and changed there so that it is seen to
work or taken back.
"""

from __future__ import annotations

import os
from typing import Callable, Optional, Sequence

from kallithea_tune.config import inifile, pastedeploy
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import ConfigError


def place(instance: Instance, option: str) -> Optional[tuple[str, str]]:
    """Return the file and the section in which the application finds `option`; None where nothing
    sets it.

    As PasteDeploy has it: ``[DEFAULT]`` before the section, and that before what its ``use`` names,
    in another file, too. Raises ConfigError where it is not plain.
    """
    if option in pastedeploy.raw(instance.path).defaults():
        return instance.path, "DEFAULT"
    options = dict(instance.sections.get(instance.section, {}))
    for form in ("set ", "get "):
        if form + option in options:
            raise ConfigError(
                f"{instance.path} sets {option} by '{form + option}' in [{instance.section}]; change that line by hand"
            )
    if option in options:
        return instance.path, instance.section
    scheme, _, rest = str(options.get("use", "")).partition(":")
    if scheme == "config":
        return place(load(os.path.join(os.path.dirname(instance.path), rest)), option)
    return place(load(f"{instance.path}#{scheme}"), option) if scheme and not rest else None


def carry_out(edits: Sequence[inifile.Edit], works: Callable[[], bool]) -> list[str]:
    """Write the edits in turn and return the paths of their backups; what changes nothing is passed
    over.

    Where `works` then says that they do not, or anything fails, every file is again what it was,
    and the list is empty.
    """
    done: list[tuple[str, str]] = []
    kept = False
    try:
        for edit in edits:
            if not edit.nothing:
                done.append((inifile.carry_out(edit), edit.path))
        kept = works()
    finally:
        for backup, path in [] if kept else reversed(done):
            os.replace(backup, path)
    return [backup for backup, _ in done] if kept else []
