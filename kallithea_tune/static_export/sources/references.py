"""Which static files the application refers to, according to its templates and code."""

from __future__ import annotations

import itertools
import os
import re
from typing import Iterator, Mapping, Sequence

from kallithea_tune.errors import Refused
from kallithea_tune.static_export.release.manifest import StaticFile
from kallithea_tune.static_export.sources.collect import WELL_KNOWN

_TEXTS = (".html", ".mako", ".py", ".js", ".css", ".less", ".json", ".xml", ".webmanifest")


def texts(package: str) -> Iterator[str]:
    """Yield the texts in a package, or in a lone module, that may refer to a static file."""
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(
            name for name in folders if name not in ("node_modules", "i18n", "tests", "__pycache__")
        )
        for name in sorted(names):
            if name.endswith(_TEXTS):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                    yield file.read()


def referenced(package: str, tops: Sequence[str]) -> set[str]:
    """Return the paths in the directories `tops` in templates, as in ``url('/css/style.css')``."""
    directories = "|".join(map(re.escape, tops))
    pattern = re.compile(rf"""['"]/((?:{directories})/[\w./-]+\.\w+)['"]""")
    templates = os.path.join(package, "templates")
    return {path for text in texts(templates) for path in pattern.findall(text)}


def check_complete(files: Mapping[str, StaticFile], package: str) -> None:
    """Raise Refused when templates refer to files that do not exist: the front-end is not built."""
    tops = sorted({path.split("/")[0] for path in files if "/" in path} | {"css", "js"})
    missing = sorted(referenced(package, tops) - set(files))
    if missing:
        raise Refused(
            f"the front-end is not built, {missing[0]} is missing; "
            "run kallithea-cli front-end-build first"
        )


def unreferenced(files: Mapping[str, StaticFile], code: Sequence[str]) -> list[str]:
    """Return the files that nothing refers to: source maps, and names found in no text.

    A file below a directory that some text refers to (``codemirror/mode/``) is kept, since code may
    compose its name, and so is what is below ``.well-known``, for programs look for its name.
    """
    everything = "\n".join(text for place in code for text in texts(place))
    names = set(re.findall(r"[\w.-]+", everything))
    directories = {
        name
        for name in {os.path.dirname(path) for path in files}
        if name and re.search(rf"[/'\"]{re.escape(name)}/(?![\w.-]+\.\w+['\"?])", everything)
    }

    def needed(path: str) -> bool:
        if path.startswith(f"{WELL_KNOWN}/"):
            return True
        parents = itertools.accumulate(path.split("/")[:-1], os.path.join)
        return os.path.basename(path) in names or any(parent in directories for parent in parents)

    return [
        path for path in sorted(files) if path.endswith(".map") or "/" in path and not needed(path)
    ]
