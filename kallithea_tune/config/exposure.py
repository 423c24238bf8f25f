"""Who besides the owner can read an ini file, and how that is changed."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat

from kallithea_tune.text import shell_word

# Groups that people are in, rather than services.
_OF_PEOPLE = frozenset({"everyone", "nogroup", "staff", "users"})


def readable_by_others(path: str) -> str:
    """Return one sentence when others can read the file at `path`, with the command that ends it.

    Empty when they cannot: for want of permission on the file, or on a directory above it.
    """
    path = os.path.realpath(path)
    status = os.stat(path)
    group = _name_of_group(status.st_gid)
    shell_path = shell_word(path)
    if status.st_mode & stat.S_IROTH and _all_enter(path):
        owner = name_of_user(status.st_uid)
        return (
            f"everybody on this machine can read the passwords in {path}; close it with: "
            f"chmod o-rwx {shell_path} (Kallithea must run as {owner}, or in the group {group}"
            f"{'' if status.st_mode & stat.S_IRGRP else ', which gets access with chmod g+r'})"
        )
    if status.st_mode & stat.S_IRGRP and group in _OF_PEOPLE:
        return (
            f"everybody in the group {group} can read the passwords in {path}; close it with: "
            f"chgrp GROUP {shell_path}, where GROUP is the one that Kallithea runs with"
        )
    return ""


def _all_enter(path: str) -> bool:
    directory = os.path.dirname(path)
    while True:
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            return False
        if directory == os.path.dirname(directory):
            return True
        directory = os.path.dirname(directory)


def _name_of_group(number: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)


def group_of_people(number: int) -> bool:
    """Whether people are in the group with this number, rather than a service."""
    return _name_of_group(number) in _OF_PEOPLE


def name_of_user(number: int) -> str:
    """Return the name of the user with this number, or the number where there is none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)
