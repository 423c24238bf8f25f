"""Who may read a release: mode and group of its files, and whether the web server's user can."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from typing import Iterator, Optional

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.text import shell_word

# Accounts under which distributions run web servers, the most common first.
USUAL_USERS = ("www-data", "apache", "nginx", "http", "caddy", "lighttpd", "wwwrun")
SELINUX = "/sys/fs/selinux/enforce"


@dataclass(frozen=True)
class Reader:
    """A user, with the numbers of all its groups."""

    name: str
    uid: int
    groups: frozenset[int]

    def may(self, status: os.stat_result, bit: int) -> bool:
        """Whether mode and owner let the user read (4) or, for a directory, search it (1). Pure."""
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & bit << 6)
        if status.st_gid in self.groups:
            return bool(status.st_mode & bit << 3)
        return bool(status.st_mode & bit)


def group_id(name: str) -> Optional[int]:
    """Return the number of a group, None for no name. Raises ConfigError for an unknown group."""
    import grp

    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"--group {name}: there is no such group") from None


def reader(name: str) -> Reader:
    """Return the user `name`. Raises ConfigError for an unknown user."""
    import pwd

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"--web-user {name}: there is no such user") from None
    return Reader(name, user.pw_uid, frozenset(os.getgrouplist(name, user.pw_gid)))


def usual_reader() -> Optional[Reader]:
    """Return the account that web servers probably run under here, by the usual names."""
    import pwd

    existing = {user.pw_name for user in pwd.getpwall()}
    return next((reader(name) for name in USUAL_USERS if name in existing), None)


def apply(directory: str, manifest: Manifest, group: Optional[int]) -> None:
    """Set mode and group of a release; directories get the search bits, too.

    With hard links, the application's own files are not touched.
    """
    mode = manifest.recipe.mode
    linked = set() if manifest.recipe.how == "copy" else {*manifest.files, *manifest.lasting}
    applications = {os.path.join(directory, path) for path in linked}
    for parent, _, names in os.walk(directory):
        set_rights(parent, directory_mode(mode), group)
        for path in (os.path.join(parent, name) for name in names):
            if path not in applications and not os.path.islink(path):
                set_rights(path, mode, group)


def directory_mode(mode: int) -> int:
    """Return the mode of directories for that of files: who may read may search. Pure."""
    return mode | (mode & 0o444) >> 2 | 0o700


def set_rights(path: str, mode: int, group: Optional[int]) -> None:
    """Set mode and group of a file or directory, where they are others."""
    status = os.stat(path)
    if group is not None and status.st_gid != group:
        os.chown(path, -1, group)
    if stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)


def obstacle(user: Reader, directory: str) -> str:
    """Return what keeps `user` from a file below `directory`, as ``path (mode 700)``.

    Empty when all can be read. Every directory on the way is checked, including those of a symbolic
    link's target. A path with an access control list counts as readable, for its mode is not all.
    """
    for path, bit in _needed(directory):
        status = os.stat(path)
        if not user.may(status, bit) and not _has_acl(path):
            return f"{path} (mode {stat.S_IMODE(status.st_mode):o})"
    return ""


def _needed(directory: str) -> Iterator[tuple[str, int]]:
    """Yield every path on the way to a file below `directory`, with the permission bit it needs."""
    seen: set[str] = set()

    def ancestors(path: str) -> Iterator[tuple[str, int]]:
        parts = [path]
        while os.path.dirname(parts[-1]) != parts[-1]:
            parts.append(os.path.dirname(parts[-1]))
        for part in reversed(parts):
            if part not in seen:
                seen.add(part)
                yield part, 1

    waiting = [os.path.realpath(directory)]
    while waiting:
        parent = waiting.pop()
        yield from ancestors(parent)
        with contextlib.suppress(PermissionError), os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_symlink():
                    path = os.path.realpath(entry.path)
                    yield from ancestors(os.path.dirname(path))
                    yield path, 4
                else:
                    yield entry.path, 4


def _has_acl(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False


def selinux_note(destination: str, switch: str = SELINUX) -> str:
    """Return what the admin must do where SELinux is enforcing, nothing elsewhere."""
    try:
        with open(switch) as file:
            enforcing = file.read().strip() == "1"
    except OSError:
        return ""
    if not enforcing:
        return ""
    releases = f"{destination}.releases"
    pattern = shell_word(f"{re.escape(releases)}(/.*)?")
    return (
        "SELinux is enforcing, and may keep the web server from these files: "
        f"semanage fcontext -a -t httpd_sys_content_t {pattern} && "
        f"restorecon -R {shell_word(releases)}"
    )
