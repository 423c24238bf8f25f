"""Turns the application's own serving of static files off, by a setting that was seen to do so."""

from __future__ import annotations

import os

from kallithea_tune import inifile
from kallithea_tune.errors import Refused
from kallithea_tune.instance import Instance, load
from kallithea_tune.probes.static_export import OPTION, SECTION
from kallithea_tune.statics.source import SWITCH, status_of


def plan(instance: Instance, path: str, destination: str) -> inifile.Edit:
    """Return the edit after which the application no longer serves `path`, and perf-check knows the export.

    The application is asked twice: as it is, and with the setting. TurboGears2 reads ``serve_static``; Kallithea's
    documented ``static_files`` changes nothing in 0.7.0. Raises Refused when the setting does not work.
    """
    edit = inifile.unchanged(instance.path)
    if status_of(instance, path, {}) == 200:
        if status_of(instance, path, {SWITCH: "false"}) == 200:
            raise Refused("with %s = false the application still serves /%s, so nothing was changed" % (SWITCH, path))
        if not instance.section:
            raise Refused("the application's settings are in another file than %s; name that file" % instance.path)
        edit = inifile.also(edit, instance.section, {SWITCH: "false"})
    return inifile.also(edit, SECTION, {OPTION: destination.replace("%", "%%")})


def carry_out(instance: Instance, edit: inifile.Edit, path: str) -> str:
    """Write the edit, and ask the application once more; return the path of the backup.

    Raises Refused when it still serves `path` with the file as written; the file is then what it was before.
    """
    backup = inifile.carry_out(edit)
    status = status_of(load("%s#%s" % (instance.path, instance.name)), path, {})
    if status == 200:
        os.replace(backup, edit.path)
        raise Refused("the application still served /%s with %s as written, so it is back as it was" % (
            path, edit.path))
    return backup
