"""Whether the built front-end is that of the installed package.

pip leaves the files of an older build where they are, and the build that should follow an upgrade
is easily forgotten. A build records what it was made of: its source map contains every style sheet,
and its list of licences the version of every module. So no time has to be believed: ``touch``
changes it, reproducible packages set it, and a second installation of the same version makes it
later than that of the build.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from kallithea_tune.app.package import installed_ns, package_directory, recorded
from kallithea_tune.static_export.release.manifest import StaticFile
from kallithea_tune.system.files import Broken, opened

STYLES, MAP, LICENSES = "css/style.css", "css/style.css.map", "LICENSES.txt"
# Of the admin, who may change it and build later.
THEME = "theme.less"
_SOURCE = re.compile(r"(?:\.\./)*front-end/([\w.-]+\.less)")
_MODULE = re.compile(r"^((?:@[\w.-]+/)?[\w.-]+)@(\S+) from ", re.MULTILINE)
_EXACT = re.compile(r"\d+\.\d+\.\d+\S*")


@dataclass(frozen=True)
class FrontEnd:
    """What the build was made of, and what a build would be made of now.

    `styles` are the package's texts by name that are compiled into `STYLES`, `modules` the versions
    of npm's modules by name; each is empty where the build left no record of it. `older` is whether
    `STYLES` is older than the installation, which counts where there are no `styles`.
    """

    styles: Mapping[str, str]
    modules: Mapping[str, str]
    installed_styles: Mapping[str, str]
    installed_modules: Mapping[str, str]
    older: bool


def unbuilt(files: Mapping[str, StaticFile], history: Mapping[str, str]) -> str:
    """Return in what the front-end among `files` is not that of the installed package, else "".

    `history` is the content by path that the installed version had before.
    """
    front_end = examine(files)
    if front_end is None:
        return ""
    return judge(front_end, published=history.get(STYLES) == files[STYLES].sha256)


def examine(files: Mapping[str, StaticFile]) -> Optional[FrontEnd]:
    """Read what Kallithea's front-end among `files` was built from.

    None where it has none, or where an overlay replaces it.
    """
    package = os.path.realpath(package_directory())
    sources = os.path.join(package, "front-end")
    own = {
        path: files[path]
        for path in (STYLES, MAP, LICENSES)
        if path in files and files[path].source == os.path.join(package, "public", path)
    }
    if STYLES not in own or not os.path.isdir(sources):
        return None
    installed = {
        name: _text(os.path.join(sources, name))
        for name in sorted(os.listdir(sources))
        if name.endswith(".less")
    }
    built = _styles(_text(own[MAP].source)) if MAP in own else {}
    # pip's record is read only where it is needed.
    styles = {
        name: text
        for name, text in built.items()
        if installed.get(name) == text or name not in _added(installed)
    }
    return FrontEnd(
        styles,
        dict(_MODULE.findall(_text(own[LICENSES].source))) if LICENSES in own else {},
        installed,
        required_modules(sources),
        not styles and _is_older(own[STYLES]),
    )


def judge(front_end: FrontEnd, published: bool) -> str:
    """Return in what the build is not that of what is installed, empty when it is. Pure.

    `published` is whether the installed version had these styles before: then it was installed once
    more. It counts where the build left no record.
    """
    for name, text in sorted(front_end.styles.items()):
        if front_end.installed_styles.get(name) != text:
            return f"{STYLES} was built from another {name}"
    for name, version in sorted(front_end.installed_modules.items()):
        built = front_end.modules.get(name, "none")
        if front_end.modules and built != version:
            return f"it was built with {name} {built} instead of {version}"
    if not front_end.styles and front_end.older and not published:
        return f"{STYLES} is older than the package"
    return ""


def _is_older(file: StaticFile) -> bool:
    # What the package itself brought is unpacked before the installation is complete.
    return f"public/{file.path}" not in recorded() and file.mtime_ns < installed_ns()


def _added(names: Mapping[str, str]) -> set[str]:
    """Return which style sheets beside the package's own are the admin's."""
    packaged = {path[len("front-end/") :] for path in recorded() if path.startswith("front-end/")}
    return {THEME} | (set(names) - packaged if packaged else set())


def _styles(text: str) -> dict[str, str]:
    """Return the style sheets of the directory front-end in a source map, by name. Pure."""
    try:
        document = json.loads(text)
        pairs = list(zip(document["sources"], document["sourcesContent"]))
        matches = [(_SOURCE.fullmatch(name), content) for name, content in pairs]
    except (ValueError, KeyError, TypeError):
        return {}
    return {match[1]: content for match, content in matches if match}


def required_modules(front_end: str) -> dict[str, str]:
    """Return the exact versions of npm's modules that the directory's package.json requires."""
    required = _package_json(front_end).get("dependencies", {})
    return {name: version for name, version in required.items() if _EXACT.fullmatch(version)}


def module_version(directory: str) -> str:
    """Return the version of the module of npm in `directory`, empty without one."""
    return str(_package_json(directory).get("version", ""))


def _package_json(directory: str) -> dict[str, Any]:
    try:
        document = json.loads(_text(os.path.join(directory, "package.json")))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _text(path: str) -> str:
    """Return the text of a regular file, empty where there is none: root may look, too."""
    try:
        with opened(*os.path.split(path)) as file:
            return file.read().decode("utf-8", "replace")
    except (OSError, Broken):
        return ""
