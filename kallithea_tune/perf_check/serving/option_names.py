"""Searches the source of installed code for options of the ini file, without importing it."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Iterable, Iterator, Sequence

from kallithea_tune.app import factory
from kallithea_tune.app.package import code, package_directory, sources
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.serving.option_families import (
    Unread,
    bare,
    closest,
    unread_of_families,
    unread_option,
)

# Of 0.7, and of 0.6.
TEMPLATES = ("templates/ini/template.ini.mako", "lib/paster_commands/template.ini.mako")
_OPTION = re.compile(r"^#?(?:get |set )?([a-z][\w.]*) ?=", re.MULTILINE)


@dataclass(frozen=True)
class UnreadOptions:
    """The options of the application and of the server that nothing reads, of `count` of the
    former.
    """

    unread: tuple[Unread, ...]
    count: int

    @property
    def examined(self) -> Examined:
        """The options of the application's section."""
        return Examined(self.count, self.count, "option")


@measurement(seconds=4.0)
def unread_options(context: Context) -> UnreadOptions:
    """Search for each option in the ini template, then in the application and its requirements.

    Raises NotMeasured where the time is too short, or the application's code is not found.
    """
    instance = context.instance
    template = template_options(package_directory())
    section = instance.sections.get(instance.section, {})
    keys = [key for key in section if key not in ("use", "filter-with")]
    unread = list(unread_of_families(instance))
    for key in unfamiliar(keys, template):
        if context.deadline.passed:
            raise NotMeasured(f"there was no time to search for {key}")
        if not is_read(instance.use, [bare(key)]):
            unread.append(unread_option(instance, key, closest(bare(key), template)))
    return UnreadOptions(tuple(unread), len(keys))


def template_options(package: str) -> frozenset[str]:
    """Return the options in the application's own ini template, commented ones included.

    There are none where it has no template.
    """
    for template in TEMPLATES:
        path = os.path.join(package, template)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return frozenset(_OPTION.findall(file.read()))
    return frozenset()


def unfamiliar(options: Sequence[str], template: frozenset[str]) -> list[str]:
    """Return the options that are not in the template, nor share a prefix (``celery.``) with it.

    They may be written with ``get`` or ``set`` before them.
    """
    families = {name.split(".")[0] for name in template if "." in name}
    # The admin numbers issue trackers: issue_pat_wiki.
    trackers = tuple(f"{name}_" for name in template if name.startswith("issue_"))
    return sorted(
        option
        for option in options
        if bare(option) not in template
        and bare(option).split(".")[0] not in families
        and not bare(option).startswith(trackers)
    )


def is_read(use: str, names: Iterable[str]) -> bool:
    """Return whether one of `names` is a string in the code of ``egg:name`` or its requirements.

    For the application that is Kallithea's code as well as that of what wraps it.
    """
    alternatives = "|".join(re.escape(name) for name in names)
    pattern = re.compile(f"['\"](?:{alternatives})['\"]")
    return any(pattern.search(source) for source in _sources(use))


@functools.lru_cache(maxsize=None)
def _sources(use: str) -> tuple[str, ...]:
    return tuple(_read(use))


def _read(use: str) -> Iterator[str]:
    for path in _files(use):
        with open(path, encoding="utf-8", errors="replace") as file:
            yield file.read()


def _files(use: str) -> Iterator[str]:
    found = factory.factory(use)
    distributions = {found.distribution}
    if factory.wrappers(use) is None:
        package = factory.package_of(found.module or found.distribution)
        yield from sources([package] if package else [])
    else:
        distributions.add(factory.KALLITHEA)
        # A package that is installed for development has no list of files.
        yield from sources(code(use))
    for distribution in distributions:
        yield from _required_by(distribution)


def _required_by(distribution: str) -> Iterator[str]:
    try:
        requirements = metadata.requires(distribution) or []
    except (metadata.PackageNotFoundError, ValueError):
        return
    for requirement in requirements:
        match = re.match(r"[\w.-]+", requirement)
        try:
            files = metadata.files(match.group()) if match else None
        except metadata.PackageNotFoundError:
            continue
        paths = (str(file.locate()) for file in files or ())
        yield from (path for path in paths if path.endswith(".py") and "/tests/" not in path)
