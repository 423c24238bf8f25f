"""The environment of every process that is started: no repository can start anything through it."""

from __future__ import annotations

import os
import pwd

# Variables that direct git, Mercurial and what these start, or lead to the keys of who is signed
# in. HGENCODING stays: names of files are decoded with it.
_REMOVED_PREFIXES = ("GIT_", "HG", "SSH_", "XDG_", "GPG_", "DBUS_")
_REMOVED = frozenset({"EDITOR", "VISUAL", "PAGER"})
_KEPT = frozenset({"HGENCODING"})
# git-config manual: the settings with a fixed name by which the configuration of a repository has
# git start a program, and values with which it does not. What the drivers of diff and textconv
# start, whose names are free, is prevented by options of the commands.
_GIT_SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.alternateRefsCommand": "true",
    "diff.submodule": "short",
    "log.showSignature": "false",
}


def isolated() -> dict[str, str]:
    """Return the environment for a child: this process's, in which git and Mercurial start nothing
    that the configuration of a repository or of a user says, and reach no other machine.

    The home directory is that of the effective user, as root's is unreadable for others.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (name in _REMOVED or name.startswith(_REMOVED_PREFIXES))
    }
    # Every version of git reads these settings from this variable, and after all files.
    settings = " ".join(f"'{name}={value}'" for name, value in _GIT_SETTINGS.items())
    return {
        **kept,
        "HOME": _home(),
        "XDG_CONFIG_HOME": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_PARAMETERS": settings,
        # No transport is allowed, not even to a repository on the same disk: the one that lacks
        # objects of a partial clone would fetch them with a command of its own.
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "HGPLAIN": "1",
        "HGRCPATH": "",
        "HGRCSKIPREPO": "1",
    }


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return os.devnull
