"""Turns the application's own serving of static files off, by a setting that was seen to do so."""

from __future__ import annotations

import os
from typing import Sequence

from kallithea_tune.config import inifile, locate
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import Refused
from kallithea_tune.static_export.freshness import OPTION, SECTION
from kallithea_tune.static_export.source import SWITCH, status_of


def plan(instance: Instance, path: str, destination: str) -> list[inifile.Edit]:
    """Return the edits after which the application no longer serves `path`, and perf-check knows
    the export.

    The application is asked twice: as it is, and with the setting. TurboGears2 reads
    ``serve_static``; Kallithea's documented ``static_files`` changes nothing in 0.7.0. Where the
    setting stands in another file, which `instance` uses, that one is edited, too. Raises Refused
    when the setting does not work.
    """
    edit = inifile.also(
        inifile.unchanged(instance.path), SECTION, {OPTION: destination.replace("%", "%%")}
    )
    if status_of(instance, path, {}) != 200:
        return [edit]
    if status_of(instance, path, {SWITCH: "false"}) == 200:
        raise Refused(
            f"with {SWITCH} = false the application still serves /{path}, so nothing was changed"
        )
    place, section = locate.find(instance, SWITCH) or (instance.path, instance.section)
    if not section:
        raise Refused(
            f"the application's settings are in another file than {instance.path}; name that file"
        )
    if os.path.realpath(place) == edit.path:
        return [inifile.also(edit, section, {SWITCH: "false"})]
    return [edit, inifile.plan(place, section, {SWITCH: "false"})]


def carry_out(instance: Instance, edits: Sequence[inifile.Edit], path: str) -> list[str]:
    """Write the edits, and ask the application once more; return the paths of the backups.

    Raises Refused when it still serves `path` with the files as written; they are then what they
    were before.
    """

    def works() -> bool:
        return status_of(load(f"{instance.path}#{instance.name}"), path, {}) != 200

    backups = locate.apply(edits, works)
    if not backups:
        raise Refused(
            "the application still served /{} with {} as written, so it is back as it was".format(
                path, " and ".join(edit.path for edit in edits)
            )
        )
    return backups
