"""Turns the application's own serving of static files off, and has it believe no client, by
settings that were tested.
"""

from __future__ import annotations

import os
from typing import Sequence

from kallithea_tune.config import inifile, locate
from kallithea_tune.config.forwarding import lacking
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import Refused
from kallithea_tune.static_export.release.freshness import OPTION, SECTION
from kallithea_tune.static_export.sources.application import SWITCH, claims_believed, status_of


def plan(instance: Instance, path: str, destination: str) -> list[inifile.Edit]:
    """Return the edits that keep the application from serving `path` and from believing what
    clients claim about host and scheme, and that record the export.

    The application is tested twice: as it is, and with the setting. TurboGears2 reads
    ``serve_static``; Kallithea's documented ``static_files`` changes nothing in 0.7.0. Where the
    setting is in another file, which `instance` uses, that file is edited, too. Raises Refused when
    the setting does not work.
    """
    edit = inifile.also(
        inifile.unchanged(instance.path), SECTION, {OPTION: destination.replace("%", "%%")}
    )
    for section, options in lacking(instance).items():
        edit = inifile.also(edit, section, options)
    if status_of(instance, path, {}) != 200:
        return [edit]
    if status_of(instance, path, {SWITCH: "false"}) == 200:
        raise Refused(
            f"with {SWITCH} = false the application still serves /{path}; nothing was changed"
        )
    place, section = locate.find(instance, SWITCH) or (instance.path, instance.section)
    if not section:
        raise Refused(
            f"the application's settings are not in {instance.path}; give the file they are in"
        )
    if os.path.realpath(place) == edit.path:
        return [inifile.also(edit, section, {SWITCH: "false"})]
    return [edit, inifile.plan(place, section, {SWITCH: "false"})]


def require_writable(instance: Instance) -> None:
    """Raise Refused or ConfigError where the files that `plan` edits cannot be written."""
    inifile.unchanged(instance.path)
    place = locate.find(instance, SWITCH)
    if place:
        inifile.unchanged(place.path)


def apply(instance: Instance, edits: Sequence[inifile.Edit], path: str) -> list[str]:
    """Write the edits, and test the application once more; return the paths of the backups.

    Raises Refused when it still serves `path`, or believes a client although the edits are meant to
    change that; the files are then restored.
    """
    careful = bool(lacking(instance))
    fault = ""

    def works() -> bool:
        nonlocal fault
        changed = load(f"{instance.path}#{instance.name}")
        believed = claims_believed(changed) if careful else ()
        if status_of(changed, path, {}) == 200:
            fault = f"served /{path}"
        elif believed:
            fault = f"believed a client's {believed[0]}"
        return not fault

    backups = locate.apply(edits, works)
    if not backups:
        paths = " and ".join(edit.path for edit in edits)
        raise Refused(
            f"the application still {fault} after the change of {paths}, which was therefore undone"
        )
    return backups
