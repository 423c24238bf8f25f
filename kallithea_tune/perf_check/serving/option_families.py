"""Options that a library reads by the end of their names: of sessions, caches, Celery, the server.

Which ends a library knows is read from its source as installed, without importing it.
"""

from __future__ import annotations

import difflib
import functools
import glob
import importlib.util
import os
import re
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Iterable, Iterator, Mapping, Optional

from kallithea_tune.config.instance import Instance

# difflib's ratio, from which on an option is taken for a misspelling of another: our judgement.
SIMILARITY = 0.8
_WORD = re.compile(r"[A-Za-z_]\w*")
_CELERY = "celery."
_CACHE = ("beaker.cache.", "cache.")
_SESSION = ("session.", "beaker.session.")
_FAMILIES = (_CELERY, *_CACHE, *_SESSION)
# Where the names of settings are, below the package of each server.
_SERVERS = {"waitress": "waitress/adjustments.py", "gunicorn": "gunicorn/config.py"}
# What belongs to PasteDeploy and to gearbox, not to the server.
_NOT_THE_SERVERS = frozenset({"use", "paste.server_factory"})


@dataclass(frozen=True)
class Unread:
    """An option that nothing reads, and the one that was probably meant, empty without one.

    `key` is how the `section` writes it, as in ``set NAME``, and `value` what it is set to, both
    literally. `present` says that the section has the other one already. `of_server` tells those of
    a server from those of the application.
    """

    section: str
    key: str
    value: str
    similar: str = ""
    present: bool = False
    of_server: bool = False

    @property
    def name(self) -> str:
        """The option without ``set`` or ``get``."""
        return bare(self.key)


def unread_of_families(instance: Instance) -> Iterator[Unread]:
    """Yield the options of the families that their library does not know."""
    options = instance.sections.get(instance.section, {})
    for key in options:
        known = _known(bare(key), instance.settings)
        if known and not known.issuperset(_parts(bare(key))[1:]):
            yield unread_option(instance, key, _meant(bare(key), known))
    yield from _of_the_server(instance)


def bare(key: str) -> str:
    """Return the name of an option without PasteDeploy's ``set`` or ``get`` before it."""
    return re.sub(r"^(get|set) +", "", key)


def unread_option(instance: Instance, key: str, similar: str) -> Unread:
    """Return an option of the application's section, of which probably `similar` was meant."""
    options = instance.sections[instance.section]
    present = similar in set(map(bare, options))
    return Unread(instance.section, key, options[key], similar, present)


def closest(name: str, candidates: Iterable[str]) -> str:
    """Return the candidate that `name` is probably a misspelling of, empty without one."""
    return next(iter(difflib.get_close_matches(name, sorted(candidates), 1, SIMILARITY)), "")


def _known(name: str, settings: Mapping[str, str]) -> Optional[frozenset[str]]:
    """Return the parts of names that are read in the family of `name`; None for others."""
    if name.startswith(_CELERY):
        return _celery_settings()
    if name.startswith(_SESSION):
        return _words("beaker/*.py", "beaker/ext/*.py", "tg/appwrappers/session.py")
    if name.startswith(_CACHE):
        regions = re.split(r"[\s,]+", settings.get("beaker.cache.regions", "").strip())
        words = _words("beaker/*.py", "beaker/ext/*.py", "tg/appwrappers/caching.py")
        return words and words.union(regions)
    return None


def _meant(name: str, known: frozenset[str]) -> str:
    """Return `name` with each unknown part replaced by the closest known one, empty without one."""
    family, *parts = _parts(name)
    meant = [part if part in known else closest(part, known) for part in parts]
    return ".".join([family, *meant]) if all(meant) else ""


def _parts(name: str) -> list[str]:
    """Split a name into its family and the parts that the library reads; Celery reads it all."""
    prefix = next(item for item in _FAMILIES if name.startswith(item))
    rest = name[len(prefix) :]
    return [prefix[:-1], *([rest.lower()] if prefix == _CELERY else rest.split("."))]


def _of_the_server(instance: Instance) -> Iterator[Unread]:
    package = _package(instance.server)
    known = _words(_SERVERS[package]) if package in _SERVERS else frozenset()
    if not known:
        return
    for section, options in instance.sections.items():
        if section.startswith("server:") and _package(options) == package:
            for name in options:
                if name not in _NOT_THE_SERVERS and name not in known:
                    similar = closest(name, known)
                    present = similar in options
                    yield Unread(section, name, options[name], similar, present, of_server=True)


def _package(options: Mapping[str, str]) -> str:
    return options.get("use", "").partition(":")[2].partition("#")[0].lower()


@functools.lru_cache(maxsize=None)
def _celery_settings() -> frozenset[str]:
    """Return Celery's settings, as ``worker_concurrency``; none where they are not found.

    They are in nested calls: ``worker=Namespace(concurrency=Option(...))``.
    """
    source = _source("celery/app/defaults.py")
    names: set[str] = set()
    group = ""
    for line in source.splitlines():
        match = re.match(r"( *)(\w+)=(Namespace|Option)\(", line)
        if match and match[3] == "Namespace":
            group = match[2] + "_"
        elif match:
            names.add((group if len(match[1]) > 4 else "") + match[2])
        # Those of before version 4 are still read.
        names.update(word.lower() for word in re.findall(r"'(\w+)'", line))
    return frozenset(names)


@functools.lru_cache(maxsize=None)
def _words(*patterns: str) -> frozenset[str]:
    return frozenset(word for pattern in patterns for word in _WORD.findall(_source(pattern)))


def _source(pattern: str) -> str:
    """Return the source of installed modules, by a pattern below the directory of packages."""
    package = pattern.partition("/")[0]
    # An imported Celery has replaced its module by one without a specification.
    spec = PathFinder.find_spec(package) or importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        return ""
    place = os.path.dirname(os.path.dirname(spec.origin))
    texts = []
    for path in sorted(glob.glob(os.path.join(glob.escape(place), pattern))):
        with open(path, encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    return "\n".join(texts)
