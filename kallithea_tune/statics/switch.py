"""Turns the application's own serving of static files off, by a setting that was seen to do so."""

from __future__ import annotations

import os
from typing import Sequence

from kallithea_tune import inifile, setting
from kallithea_tune.errors import Refused
from kallithea_tune.instance import Instance, load
from kallithea_tune.probes.static_export import OPTION, SECTION
from kallithea_tune.statics.source import SWITCH, status_of


def plan(instance: Instance, path: str, destination: str) -> list[inifile.Edit]:
    """Return the edits after which the application no longer serves `path`, and perf-check knows the export.

    The application is asked twice: as it is, and with the setting. TurboGears2 reads ``serve_static``; Kallithea's
    documented ``static_files`` changes nothing in 0.7.0. Where the setting stands in another file, which `instance`
    uses, that one is edited, too. Raises Refused when the setting does not work.
    """
    edit = inifile.also(inifile.unchanged(instance.path), SECTION, {OPTION: destination.replace("%", "%%")})
    if status_of(instance, path, {}) != 200:
        return [edit]
    if status_of(instance, path, {SWITCH: "false"}) == 200:
        raise Refused("with %s = false the application still serves /%s, so nothing was changed" % (SWITCH, path))
    place, section = setting.place(instance, SWITCH) or (instance.path, instance.section)
    if not section:
        raise Refused("the application's settings are in another file than %s; name that file" % instance.path)
    if os.path.realpath(place) == edit.path:
        return [inifile.also(edit, section, {SWITCH: "false"})]
    return [edit, inifile.plan(place, section, {SWITCH: "false"})]


def carry_out(instance: Instance, edits: Sequence[inifile.Edit], path: str) -> list[str]:
    """Write the edits, and ask the application once more; return the paths of the backups.

    Raises Refused when it still serves `path` with the files as written; they are then what they were before.
    """
    def works() -> bool:
        return status_of(load("%s#%s" % (instance.path, instance.name)), path, {}) != 200

    backups = setting.carry_out(edits, works)
    if not backups:
        raise Refused("the application still served /%s with %s as written, so it is back as it was" % (
            path, " and ".join(edit.path for edit in edits)))
    return backups
