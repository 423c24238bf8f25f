"""Keeps the application in this process from starting what the configuration of a repository says.

The environment does the rest, see `system.environment`: here is what has no name that is known in
advance, and what Mercurial loads into this process.
"""

from __future__ import annotations

import importlib
import os
import stat
from typing import Any, BinaryIO, Callable, Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured

# Sections of a repository's hgrc that change what is shown, and start nothing.
_HG_SECTIONS = (b"diff", b"experimental", b"format", b"phases", b"server", b"storage", b"web")
# The drivers of diff and textconv have names of their own, chosen by the attributes of a file.
_NO_DRIVERS = ("--no-ext-diff", "--no-textconv")
_GIT_OPTIONS = {
    "blame": ("--no-textconv",),
    "diff": _NO_DRIVERS,
    "log": _NO_DRIVERS,
    "show": _NO_DRIVERS,
}
# Kallithea 0.7 and 0.6.
_EXTENSION_FILES = ("extensions.py", os.path.join("rcextensions", "__init__.py"))
_EXTENSION_LOADERS = ("load_extensions", "load_rcextensions")


def start_nothing(ini: str) -> None:
    """Change Mercurial and Kallithea in this process; call it before the application is made.

    Only harmless sections of a repository's hgrc are read then, git is run without the drivers of
    its configuration, and the code beside the ini file `ini` is only loaded when nobody else wrote
    it. Raises what importing Kallithea raises.
    """
    _restrict_hgrc()
    _restrict_git()
    _restrict_extensions(ini)


def _restrict_hgrc() -> None:
    reader: Any = importlib.import_module("mercurial.config").config
    read = reader.read

    def read_harmless(
        config: object,
        path: bytes,
        fp: Optional[BinaryIO] = None,
        sections: Optional[Sequence[bytes]] = None,
        remap: Optional[Mapping[bytes, bytes]] = None,
    ) -> None:
        read(config, path, fp, _HG_SECTIONS, remap)

    reader.read = read_harmless
    # Mercurial loads its own extensions for largefiles and LFS only where it reads a hgrc.
    os.environ.pop("HGRCSKIPREPO", None)


def _restrict_git() -> None:
    repository: Any = importlib.import_module("kallithea.lib.vcs.backends.git").GitRepository
    method = vars(repository).get("_run_git_command")
    if not isinstance(method, classmethod):
        raise NotMeasured("this version of Kallithea runs git in an unknown way")
    run: Callable[..., object] = method.__func__

    def run_without_drivers(
        cls: type[Any], /, cmd: list[str], *args: object, **options: object
    ) -> object:
        return run(cls, [cmd[0], *_GIT_OPTIONS.get(cmd[0], ()), *cmd[1:]], *args, **options)

    repository._run_git_command = classmethod(run_without_drivers)


def _restrict_extensions(ini: str) -> None:
    module = vars(importlib.import_module("kallithea.config.app_cfg"))
    for name in _EXTENSION_LOADERS:
        if name in module:
            module[name] = _checked(module[name], ini)


def _checked(load: Callable[[str], None], ini: str) -> Callable[[str], None]:
    def load_own(root_path: str) -> None:
        for name in _EXTENSION_FILES:
            _check_writers(os.path.join(root_path, name), ini)
        load(root_path)

    return load_own


def _check_writers(path: str, ini: str) -> None:
    """Raise PermissionError where others than root, the owner of `ini` and the effective user may
    have written `path`.
    """
    try:
        status = os.stat(path)
    except OSError:
        return
    if status.st_uid not in (0, os.geteuid(), os.stat(ini).st_uid):
        raise PermissionError(f"{path} and {ini} have different owners, so it is not executed")
    if status.st_mode & stat.S_IWOTH:
        raise PermissionError(f"{path} can be written by every user, so it is not executed")
