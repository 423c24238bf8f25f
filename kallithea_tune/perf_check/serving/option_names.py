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
from kallithea_tune.perf_check.serving.option_families import Unread, unread_of_families

# Of 0.7, and of 0.6.
TEMPLATES = ("templates/ini/template.ini.mako", "lib/paster_commands/template.ini.mako")
_OPTION = re.compile(r"^#?(?:get |set )?([a-z][\w.]*) ?=", re.MULTILINE)


@dataclass(frozen=True)
class UnreadOptions:
    """The options of the application's section that nothing reads, and those of its ini template.

    `present` are all options in the section. `of_families` are those that a library does not read,
    in the server's section, too.
    """

    unread: tuple[str, ...]
    template: frozenset[str]
    present: frozenset[str]
    of_families: tuple[Unread, ...] = ()

    @property
    def examined(self) -> Examined:
        """The options of the application's section."""
        return Examined(len(self.present), len(self.present), "option")


@measurement(seconds=4.0)
def unread_options(context: Context) -> UnreadOptions:
    """Search for each option in the ini template, then in the application and its requirements.

    Raises NotMeasured where the time is too short, or the application's code is not found.
    """
    instance = context.instance
    template = template_options(package_directory())
    section = instance.sections.get(instance.section, {})
    options = [name for name in section if name not in ("use", "filter-with")]
    unread = []
    for name in unfamiliar(options, template):
        if context.deadline.passed:
            raise NotMeasured(f"there was no time to search for {name}")
        if not is_read(instance.use, [name]):
            unread.append(name)
    families = tuple(unread_of_families(instance))
    return UnreadOptions(tuple(unread), template, frozenset(options), families)


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
    """Return the options that are not in the template, nor share a prefix (``celery.``) with it."""
    families = {name.split(".")[0] for name in template if "." in name}
    # The admin numbers issue trackers: issue_pat_wiki.
    trackers = tuple(f"{name}_" for name in template if name.startswith("issue_"))
    names = [re.sub("^(get|set) ", "", option) for option in options]
    return sorted(
        name
        for name in names
        if name not in template
        and name.split(".")[0] not in families
        and not name.startswith(trackers)
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
