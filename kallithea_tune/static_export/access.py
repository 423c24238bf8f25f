"""Who may read a release: mode and group of what we write, and whether the web server's user gets
to it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Iterator, Optional

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.manifest import Manifest

# Accounts under which distributions run web servers, the most usual first.
USUAL_USERS = ("www-data", "apache", "nginx", "http", "caddy", "lighttpd", "wwwrun")
SELINUX = "/sys/fs/selinux/enforce"


@dataclass(frozen=True)
class Reader:
    """A user by name and number, with the numbers of all its groups."""

    name: str
    uid: int
    groups: frozenset[int]

    def may(self, status: os.stat_result, bit: int) -> bool:
        """Tell whether mode and owner let the user read (4) or, for a directory, pass (1). Pure."""
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & bit << 6)
        if status.st_gid in self.groups:
            return bool(status.st_mode & bit << 3)
        return bool(status.st_mode & bit)


def group_id(name: str) -> Optional[int]:
    """Return the number of a group, None for no name. Raises ConfigError where there is no such
    group.
    """
    import grp

    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"--group {name}: there is no such group") from None


def reader(name: str) -> Reader:
    """Return the user `name`. Raises ConfigError where there is no such user."""
    import pwd

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"--web-user {name}: there is no such user") from None
    return Reader(name, user.pw_uid, frozenset(os.getgrouplist(name, user.pw_gid)))


def usual_reader() -> Optional[Reader]:
    """Return the user that web servers run under here, as far as the usual names tell."""
    import pwd

    there = {user.pw_name for user in pwd.getpwall()}
    return next((reader(name) for name in USUAL_USERS if name in there), None)


def apply(directory: str, manifest: Manifest, group: Optional[int]) -> None:
    """Give a release mode and group; a directory also gets the search bits.

    With hard links, the application's own files are left as they are.
    """
    mode = manifest.recipe.mode
    theirs = (
        set()
        if manifest.recipe.how == "copy"
        else {os.path.join(directory, path) for path in manifest.files}
    )
    for parent, _, names in os.walk(directory):
        _set(parent, mode | (mode & 0o444) >> 2 | 0o700, group)
        for path in (os.path.join(parent, name) for name in names):
            if path not in theirs and not os.path.islink(path):
                _set(path, mode, group)


def _set(path: str, mode: int, group: Optional[int]) -> None:
    status = os.stat(path)
    if group is not None and status.st_gid != group:
        os.chown(path, -1, group)
    if stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)


def obstacle(user: Reader, directory: str) -> str:
    """Return what keeps `user` from a file below `directory`, as ``path (mode 700)``; nothing when
    all can be read.

    Every directory on the way is looked at, that of a symbolic link's target, too. Where a path has
    an access control list, its mode does not tell, and it is taken to be readable.
    """
    for path, bit in _needed(directory):
        status = os.stat(path)
        if not user.may(status, bit) and not _has_acl(path):
            return f"{path} (mode {stat.S_IMODE(status.st_mode):o})"
    return ""


def _needed(directory: str) -> Iterator[tuple[str, int]]:
    passed: set[str] = set()

    def way(path: str) -> Iterator[tuple[str, int]]:
        parts = [path]
        while os.path.dirname(parts[-1]) != parts[-1]:
            parts.append(os.path.dirname(parts[-1]))
        for part in reversed(parts):
            if part not in passed:
                passed.add(part)
                yield part, 1

    for parent, _, names in os.walk(os.path.realpath(directory)):
        yield from way(parent)
        for name in names:
            path = os.path.realpath(os.path.join(parent, name))
            yield from way(os.path.dirname(path))
            yield path, 4


def _has_acl(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False


def selinux_note(destination: str, switch: str = SELINUX) -> str:
    """Return what the admin of a system with SELinux enforcing has to do, nothing elsewhere."""
    try:
        with open(switch) as file:
            enforcing = file.read().strip() == "1"
    except OSError:
        return ""
    if not enforcing:
        return ""
    return (
        "SELinux is enforcing, and may keep the web server from these files: semanage fcontext -a -t "
        f"httpd_sys_content_t '{destination}.releases(/.*)?' && restorecon -R {destination}.releases"
    )
