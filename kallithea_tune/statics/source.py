"""Where the application's static files are: asked of the application, or of the manifest while nothing moved."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence

from kallithea_tune.errors import ConfigError, NotMeasured, Refused
from kallithea_tune.instance import Instance
from kallithea_tune.statics.collect import StaticFile
from kallithea_tune.statics.manifest import Manifest

SECONDS = 60.0  # for loading the application
SWITCH = "serve_static"
_TEXTS = (".html", ".mako", ".py", ".js", ".css", ".less", ".json", ".xml", ".webmanifest")
_DIRECTORY = re.compile(r"[\w.-]+(?:/[\w.-]+)*")


@dataclass(frozen=True)
class Source:
    """The application's name and version, and its directories of static files."""

    app: str
    version: str
    roots: tuple[str, ...]


def find(instance: Instance, published: Optional[Manifest]) -> Source:
    """Return what the application behind `instance` serves; it is not loaded while its version is the published one.

    Raises ConfigError when the application does not load or serves nothing.
    """
    app, version = distribution(instance.use)
    if published and (published.app, published.version) == (app, version) and all(map(os.path.isdir, published.roots)):
        return Source(app, version, published.roots)
    from kallithea_tune.probes.wsgi import DoesNotLoad, Request, visit

    request = Request("/_admin/login", prepare="kallithea_tune.statics.source:roots_here")
    try:
        seen = visit(instance, [request], SECONDS, settings={SWITCH: "true"})
    except DoesNotLoad as error:
        raise ConfigError("the application does not load (%s: %s)" % (error.kind, error.said)) from None
    except NotMeasured as error:
        raise ConfigError("the application cannot be asked: %s" % error) from None
    roots = seen.answers[0].prepared or []
    if not roots:
        raise ConfigError("the application behind %s serves no static files that could be exported" % instance.uri)
    return Source(app, version, tuple(roots))


def roots_here() -> list[str]:
    """Return the directories that the application loaded in this process serves; for the visit's child only."""
    import gc

    found: dict[str, None] = {}
    for thing in gc.get_objects():
        if type(thing).__name__ == "StaticsMiddleware" and isinstance(getattr(thing, "doc_root", None), str):
            found[os.path.realpath(thing.doc_root)] = None
    return list(found)


def distribution(use: str) -> tuple[str, str]:
    """Return the name and version of the distribution that ``egg:name`` means; no version for other factories."""
    from importlib import metadata

    name = use.partition(":")[2].partition("#")[0]
    try:
        return name, metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return name, ""


def texts(package: str) -> Iterator[str]:
    """Return the texts below the application's package that may name a static file."""
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name not in ("node_modules", "i18n", "tests", "__pycache__"))
        for name in sorted(names):
            if name.endswith(_TEXTS):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                    yield file.read()


def referenced(package: str, tops: Sequence[str]) -> set[str]:
    """Return the paths in the directories `tops` that templates ask for by name, as in ``url('/css/style.css')``."""
    pattern = re.compile(r"""['"]/((?:%s)/[\w./-]+\.\w+)['"]""" % "|".join(map(re.escape, tops)))
    templates = os.path.join(package, "templates")
    return {path for text in texts(templates) for path in pattern.findall(text)}


def check_complete(files: Mapping[str, StaticFile], package: str) -> None:
    """Raise Refused when templates ask for files that are not there: the front-end was not built."""
    tops = sorted({path.split("/")[0] for path in files if "/" in path} | {"css", "js"})
    missing = sorted(referenced(package, tops) - set(files))
    if missing:
        raise Refused("the front-end is not built, %s is missing; run kallithea-cli front-end-build first" % missing[0])


def unreferenced(files: Mapping[str, StaticFile], package: str) -> list[str]:
    """Return the files that nothing names: source maps, and those whose name stands in no text of the application.

    A file below a directory that some text names as such (``codemirror/mode/``) is kept, since code may compose its
    name.
    """
    everything = "\n".join(texts(package))
    words = set(re.findall(r"[\w.-]+", everything))
    directories = {
        name for name in {os.path.dirname(path) for path in files} if name and re.search(
            r"[/'\"]%s/(?![\w.-]+\.\w+['\"?])" % re.escape(name), everything)}

    def named(path: str) -> bool:
        parents = []
        parent = os.path.dirname(path)
        while parent:
            parents.append(parent)
            parent = os.path.dirname(parent)
        return os.path.basename(path) in words or any(parent in directories for parent in parents)

    return [path for path in sorted(files) if path.endswith(".map") or "/" in path and not named(path)]


def status_of(instance: Instance, path: str, settings: Mapping[str, str]) -> int:
    """Ask the application itself for a file, with `settings` in place of its own; return the status of its answer."""
    from kallithea_tune.probes.wsgi import DoesNotLoad, Request, visit

    try:
        answers: Any = visit(instance, [Request("/" + path)], SECONDS, settings=settings).answers
    except DoesNotLoad as error:
        raise ConfigError("the application does not load (%s: %s)" % (error.kind, error.said)) from None
    except NotMeasured as error:
        raise ConfigError("the application cannot be asked: %s" % error) from None
    status: int = answers[0].status
    return status
