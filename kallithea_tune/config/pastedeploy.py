"""What PasteDeploy reads out of an ini file: contexts, filters and sections, with no factory
imported.
"""

from __future__ import annotations

import configparser
import contextlib
import os
from typing import Any, Mapping
from urllib.parse import unquote

# What --try proposes: for sections of the ini file, options with the value to be tried.
Changes = Mapping[str, Mapping[str, str]]


def reader(path: str) -> Any:
    """Return PasteDeploy's loader for `path`, noting what factory is named instead of importing it.

    The settings must be readable although the application is broken.
    """
    from paste.deploy import loadwsgi

    class Reader(loadwsgi.ConfigLoader):  # type: ignore[misc]
        def get_context(self, object_type: Any, name: Any = None, global_conf: Any = None) -> Any:
            if not self.absolute_name(name):
                return super().get_context(object_type, name, global_conf)
            scheme, _, rest = name.partition(":")
            rest, _, inner = rest.partition("#")
            if scheme.lower() == "config":
                other = Reader(os.path.join(os.path.dirname(self.filename), unquote(rest)))
                other.update_defaults(global_conf or {}, overwrite=False)
                return other.get_context(object_type, inner or "main", global_conf)
            if scheme.lower() not in ("egg", "call"):
                raise LookupError(f"URI scheme not known: {scheme}:")
            use = "{}:{}{}".format(scheme, rest, "#" + inner if inner not in ("", "main") else "")
            return loadwsgi.LoaderContext(None, object_type, use, dict(global_conf or {}), {}, self)

        def _context_from_explicit(
            self, object_type: Any, local_conf: Any, global_conf: Any, _additions: Any, section: str
        ) -> Any:
            for option in [
                option
                for group in object_type.egg_protocols
                for option in group
                if option in local_conf
            ]:
                use = "call:" + local_conf.pop(option)
                return loadwsgi.LoaderContext(None, object_type, use, global_conf, local_conf, self)
            raise LookupError(f"No loader given in section '{section}'")

    return Reader(path)


def changed(loader: Any, changes: Changes) -> Any:
    """Make `changes` in the parsed file of `loader`, so that they take effect as if they were
    written there.
    """
    parser = loader.parser
    for section, options in changes.items():
        for key, value in options.items():
            if key in parser._defaults:
                # PasteDeploy skips an option of a section that [DEFAULT] has, too.
                parser._defaults[key] = value
            elif section in parser.sections():
                for prefix in ("get ", "set "):
                    parser.remove_option(section, prefix + key)
                parser._sections[section][key] = value
    return loader


def application_section(loader: Any, name: str) -> str:
    """Return the section with the settings of application `name`, through pipelines; empty when in
    another file.
    """
    from paste.deploy import loadwsgi

    while not loader.absolute_name(name):
        section: str = loader.find_config_section(loadwsgi.APP, name)
        options = dict(loader.parser.items(section, raw=True))
        if section.startswith("pipeline:"):
            name = (options.get("pipeline", "").split() or [""])[-1]
        elif section.startswith("filter-app:"):
            name = options.get("next", "")
        else:
            return section
    return ""


def application(context: Any) -> tuple[Any, tuple[Mapping[str, str], ...]]:
    """Follow the filters and pipelines around an application; return its own context and the
    options of each.
    """
    filters = []
    while True:
        around = [
            getattr(context, "filter_context", None),
            *getattr(context, "filter_contexts", ()),
        ]
        filters += [_options(item) for item in around if item is not None]
        inner = getattr(context, "next_context", None) or getattr(context, "app_context", None)
        if inner is None:
            return context, tuple(filters)
        context = inner


def server_settings(loader: Any, name: str) -> dict[str, str]:
    """Return the options of the server section of application `name`, or of the main one; none
    where there is none.
    """
    from paste.deploy import loadwsgi

    for candidate in dict.fromkeys((name, "main")):
        with contextlib.suppress(LookupError):
            return _options(loader.get_context(loadwsgi.SERVER, candidate))
    return {}


def _options(context: Any) -> dict[str, str]:
    """Return the options of a section, ``use`` being the factory it ends up with."""
    found = {str(key): str(value) for key, value in context.local_conf.items()}
    return {**found, "use": str(context.protocol)}


def raw(path: str) -> configparser.RawConfigParser:
    """Parse the file as it is written, so that a `%` in logging formats means nothing."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return parser


def sections(path: str, changes: Changes) -> dict[str, dict[str, str]]:
    """Return every section as it is written, with `changes`."""
    parser = raw(path)
    return {
        name: {**parser._sections[name], **changes.get(name, {})}  # type: ignore[attr-defined]
        for name in parser.sections()
    }
