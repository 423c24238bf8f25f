"""Turns the application's own serving of static files off, by a setting that was seen to do so."""

from __future__ import annotations

from typing import Optional

from kallithea_tune import inifile
from kallithea_tune.errors import Refused
from kallithea_tune.instance import Instance
from kallithea_tune.statics.source import SWITCH, status_of


def plan(instance: Instance, path: str) -> Optional[inifile.Edit]:
    """Return the edit after which the application no longer serves `path`; None when it does not now.

    The application is asked twice: as it is, and with the setting. TurboGears2 reads ``serve_static``; Kallithea's
    documented ``static_files`` changes nothing in 0.7.0. Raises Refused when the setting does not work.
    """
    if status_of(instance, path, {}) != 200:
        return None
    status = status_of(instance, path, {SWITCH: "false"})
    if status == 200:
        raise Refused("with %s = false the application still serves /%s, so nothing was changed" % (SWITCH, path))
    if not instance.section:
        raise Refused("the application's settings are in another file than %s; name that file" % instance.path)
    return inifile.plan(instance.path, instance.section, {SWITCH: "false"})


def carry_out(edit: inifile.Edit) -> str:
    """Write the edit, and ask the application once more; return the path of the backup."""
    return inifile.carry_out(edit)
