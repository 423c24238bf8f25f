"""Contexts, filters and sections as PasteDeploy reads them, with no factory imported."""

from __future__ import annotations

import configparser
import contextlib
import os
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional, Protocol
from urllib.parse import unquote

from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# What --try proposes: for sections of the ini file, options with the value to be tried.
Changes = Mapping[str, Mapping[str, str]]


# paste.deploy has no types, and `changed` reaches into its parser.
Loader = Any


class Context(Protocol):
    """What PasteDeploy knows of one section: its factory, and the options for calling it."""

    object: Callable[..., object]
    protocol: str
    local_conf: dict[str, str]

    def config(self) -> Mapping[str, str]:
        """Return the options, defaults included."""

    def create(self) -> WSGIApplication:
        """Call the factory."""


def obstacle(path: str) -> str:
    """Return why PasteDeploy cannot read the file, as the rest of a sentence; empty if it can."""
    if os.path.isdir(path):
        return "is a directory; give the ini file in it"
    if os.path.exists(path) and not os.path.isfile(path):
        return "is not a regular file"
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return "does not exist"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"is not text in UTF-8: see line {line}, or save it as UTF-8"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not text.strip():
        return "is empty"
    if text.startswith("\ufeff"):
        return "begins with a byte order mark, which PasteDeploy does not read; save it without one"
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return f"has a NUL character in line {line}; remove it"
    return ""


def reader(path: str) -> Loader:
    """Return PasteDeploy's loader for `path`, which records factories instead of importing them.

    The settings must be readable even when the application is broken.
    """
    from paste.deploy import loadwsgi

    class Reader(loadwsgi.ConfigLoader):  # type: ignore[misc]
        def get_context(self, object_type: Any, name: Any = None, global_conf: Any = None) -> Any:
            if not self.absolute_name(name):
                return super().get_context(object_type, name, global_conf)
            scheme, _, rest = name.partition(":")
            rest, _, inner = rest.partition("#")
            if scheme.lower() == "config":
                path = os.path.join(os.path.dirname(self.filename), unquote(rest))
                reason = obstacle(path)
                if reason:
                    raise ConfigError(
                        f"{self.filename} does not load: it uses {path}, which {reason}"
                    )
                other = Reader(path)
                other.update_defaults(global_conf or {}, overwrite=False)
                return other.get_context(object_type, inner or "main", global_conf)
            if scheme.lower() not in ("egg", "call"):
                raise LookupError(f"URI scheme not known: {scheme}:")
            use = f"{scheme}:{rest}" + (f"#{inner}" if inner not in ("", "main") else "")
            return loadwsgi.LoaderContext(None, object_type, use, dict(global_conf or {}), {}, self)

        def _context_from_explicit(
            self, object_type: Any, local_conf: Any, global_conf: Any, _additions: Any, section: str
        ) -> Any:
            for protocol in (name for names in object_type.egg_protocols for name in names):
                if protocol in local_conf:
                    use = "call:" + local_conf.pop(protocol)
                    return loadwsgi.LoaderContext(
                        None, object_type, use, global_conf, local_conf, self
                    )
            raise LookupError(f"No loader given in section '{section}'")

    return Reader(path)


def changed(loader: Loader, changes: Changes) -> Loader:
    """Apply `changes` to the parsed file of `loader`, as if they had been written there."""
    parser = loader.parser
    for section, options in changes.items():
        for key, value in options.items():
            if key in parser._defaults:
                # PasteDeploy ignores an option of a section when [DEFAULT] has it, too.
                parser._defaults[key] = value
            elif section in parser.sections():
                for prefix in ("get ", "set "):
                    parser.remove_option(section, prefix + key)
                parser._sections[section][key] = value
    return loader


def application_section(loader: Loader, name: str) -> str:
    """Return the section with the settings of application `name`, behind any pipelines.

    Empty when they are in another file.
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


def application(context: Context) -> tuple[Context, tuple[Mapping[str, str], ...]]:
    """Return the application's own context behind its filters, and the options of each filter."""
    filters: list[Mapping[str, str]] = []
    while True:
        around: list[Optional[Context]] = [
            getattr(context, "filter_context", None),
            *getattr(context, "filter_contexts", ()),
        ]
        filters += [_options(item) for item in around if item is not None]
        inner: Optional[Context] = getattr(context, "next_context", None) or getattr(
            context, "app_context", None
        )
        if inner is None:
            return context, tuple(filters)
        context = inner


def server_settings(loader: Loader, name: str) -> dict[str, str]:
    """Return the options of the server section of application `name`, else of the main one.

    Empty where there is neither.
    """
    from paste.deploy import loadwsgi

    for candidate in dict.fromkeys((name, "main")):
        with contextlib.suppress(LookupError):
            return _options(loader.get_context(loadwsgi.SERVER, candidate))
    return {}


def server_options(path: str, name: str, changes: Changes) -> dict[str, str]:
    """Return the options of ``[server:NAME]`` in the file at `path`; unread where it is broken."""
    written = sections(path, changes).get(f"server:{name}", {})
    try:
        return server_settings(changed(reader(path), changes), name)
    except (LookupError, ValueError, AssertionError, ImportError, configparser.Error):
        return written


def _options(context: Context) -> dict[str, str]:
    """Return the options of a section; ``use`` is the factory that it leads to."""
    options = {str(key): str(value) for key, value in context.local_conf.items()}
    return {**options, "use": str(context.protocol)}


def raw(path: str) -> configparser.RawConfigParser:
    """Parse the file without interpolation: a `%` in logging formats means nothing."""
    parser = configparser.RawConfigParser(strict=False)
    setattr(parser, "optionxform", str)  # noqa: B010
    parser.read(path, encoding="utf-8")
    return parser


def sections(path: str, changes: Changes) -> dict[str, dict[str, str]]:
    """Return every section as it is written, without [DEFAULT]'s options, and with `changes`."""
    parser = raw(path)
    written: Mapping[str, Mapping[str, str]] = vars(parser)["_sections"]
    return {name: {**written[name], **changes.get(name, {})} for name in parser.sections()}


def every_section(path: str) -> Iterator[Mapping[str, str]]:
    """Yield every section as it is written in the file at `path` and in those that it includes.

    Files that cannot be read are left out: PasteDeploy reports those that are needed.
    """
    paths = [path]
    for place in paths:
        with contextlib.suppress(configparser.Error, OSError, ValueError):
            parser = raw(place)
            yield parser.defaults()
            for options in vars(parser)["_sections"].values():
                yield options
                for option in ("use", "filter-with", "next", "pipeline"):
                    for word in str(options.get(option, "")).split():
                        other = _included(place, word)
                        if other and other not in paths:
                            paths.append(other)


def _included(path: str, use: str) -> str:
    """Return the path of the file in ``use = config:other.ini#name``; empty for another `use`."""
    scheme, _, rest = use.partition(":")
    if scheme.lower() != "config":
        return ""
    here = os.path.dirname(path)
    return os.path.join(here, unquote(rest.partition("#")[0]).replace("%(here)s", here))
