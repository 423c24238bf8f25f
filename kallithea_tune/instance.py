"""One ini file, loaded as PasteDeploy loads it, and what hangs off it."""

from __future__ import annotations

import configparser
import contextlib
import operator
import os
import shlex
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional
from urllib.parse import unquote

from kallithea_tune.errors import ConfigError
from kallithea_tune.redact import Redactor, secrets_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# What --try proposes: for sections of the ini file, options with the value to be tried.
Changes = Mapping[str, Mapping[str, str]]

TRUE_WORDS = frozenset({"true", "yes", "on", "y", "t", "1"})


def as_bool(value: object) -> bool:
    """Read a setting the way paste.deploy.converters.asbool does, any other word being false."""
    return str(value).strip().lower() in TRUE_WORDS


@dataclass(frozen=True)
class Instance:
    """A Kallithea (or any PasteDeploy application) as its ini file describes it.

    `settings` is what the application factory will be called with, defaults included;
    `server` the options of the server section; `use` the factory, as in ``egg:kallithea``;
    `section` the application's own section, empty where another file holds it; `filters` are
    the options of what stands around the application, from the outside in. `changes` are not
    in the file: they were made in memory, to be tried.
    """

    path: str
    name: str
    section: str
    use: str
    settings: Mapping[str, str]
    server: Mapping[str, str]
    sections: Mapping[str, Mapping[str, str]]
    redactor: Redactor
    filters: tuple[Mapping[str, str], ...] = ()
    changes: Changes = field(default_factory=dict)
    _engines: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """The PasteDeploy URI of the application."""
        return "config:%s#%s" % (self.path, self.name)

    def contexts(self) -> tuple[Any, Any]:
        """Import the factories; return PasteDeploy's context of the whole and of the application inside its filters."""
        from paste.deploy import loadwsgi

        whole = _changed(loadwsgi.ConfigLoader(self.path), self.changes).get_context(loadwsgi.APP, self.name)
        return whole, _application(whole)[0]

    def place(self, key: str) -> tuple[str, str]:
        """Return the section and option that `key` means: ``threads``, or ``server:main.threads``."""
        for section in sorted(self.sections, key=len, reverse=True):
            if key.startswith(section + "."):
                return section, key[len(section) + 1:]
        return self.section, key

    def with_settings(self, wanted: Mapping[str, str]) -> Instance:
        """Load the same application again with other values, in memory only; each key as `place` reads it."""
        changes: dict[str, dict[str, str]] = {}
        for key, value in wanted.items():
            section, option = self.place(key)
            changes.setdefault(section, {})[option] = value
        loaded = load("%s#%s" % (self.path, self.name), changes)
        return replace(loaded, redactor=Redactor(self.redactor.secrets | loaded.redactor.secrets))

    def directory(self, key: str) -> Optional[str]:
        """Return the absolute path in option `key`, or None where it is not set."""
        value = self.settings.get(key, "").strip()
        return os.path.join(os.path.dirname(self.path), value) if value else None

    @property
    def prefix(self) -> str:
        """The path below which PasteDeploy's prefix filter expects the application: ``/kallithea``, empty without."""
        found = [item.get("prefix", "").strip("/") for item in self.filters if item["use"].endswith("#prefix")]
        # Each of these filters sets SCRIPT_NAME anew, so the innermost counts.
        return "/" + found[-1] if found and found[-1] else ""

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL, password and all: for connecting only, never for showing."""
        return self.settings.get("sqlalchemy.url", "").strip()

    def cli(self, words: str) -> str:
        """Return the command line ``kallithea-cli WORDS -c INI`` with whole paths, as cron needs them."""
        program = os.path.join(os.path.dirname(sys.executable), "kallithea-cli")
        return "%s %s -c %s" % (
            shlex.quote(program) if os.path.exists(program) else "kallithea-cli", words, shlex.quote(self.path))

    @property
    def sqlite_path(self) -> Optional[str]:
        """The SQLite file, or None for another engine or an in-memory database."""
        from kallithea_tune.engine import sqlite_file

        return sqlite_file(self.database_url)

    def engine(self) -> Engine:
        """Return a SQLAlchemy engine that cannot write and waits at most two seconds for a lock."""
        from kallithea_tune.engine import read_only_engine

        if "read-only" not in self._engines:
            self._engines["read-only"] = read_only_engine(self.database_url)
        engine: Engine = self._engines["read-only"]
        return engine

    def package(self) -> str:
        """Return the top-level package of the application: ``kallithea``. Raises ConfigError where it has none."""
        factory = self.contexts()[1].object
        name = getattr(factory, "__module__", "") or ""
        if not name:
            raise ConfigError("%s names an application whose package cannot be told" % self.path)
        return str(name.split(".")[0])

    def metadata(self, named: str = "") -> Any:
        """Return the SQLAlchemy metadata of the application's models, or what `named` says as ``module:attribute``.

        Raises ConfigError where there is none.
        """
        import importlib

        package = self.package() if not named else ""
        usual = (".model.meta:Base.metadata", ".model:DeclarativeBase.metadata", ".model:metadata")
        places = [named] if named else [package + place for place in usual]
        with contextlib.suppress(ImportError):
            # The tables join the metadata when the models are imported.
            importlib.import_module(package + ".model.db")
        for place in places:
            module, _, attribute = place.partition(":")
            with contextlib.suppress(ImportError, AttributeError):
                return operator.attrgetter(attribute)(importlib.import_module(module))
        raise ConfigError("the application's tables were not found in %s; name them with --metadata module:attribute"
                          % " or ".join(places))

    def schema_heads(self) -> tuple[str, ...]:
        """Return the newest revisions of the application's own Alembic scripts; none where it has no such scripts."""
        import importlib

        directory = os.path.dirname(str(importlib.import_module(self.package()).__file__))
        scripts = os.path.join(directory, "alembic")
        if not os.path.isdir(scripts):
            return ()
        from alembic.script import ScriptDirectory

        return tuple(sorted(ScriptDirectory(scripts).get_heads()))


def load(location: str, changes: Optional[Changes] = None, compare_db: str = "") -> Instance:
    """Load the application `location` names: ``my.ini``, ``my.ini#name`` or ``config:my.ini#name``.

    The application itself is not imported. Secrets in the URL `compare_db` are kept out of sight, too. Raises
    ConfigError in one sentence for anything wrong.
    """
    path, _, name = location.partition("#")
    path = os.path.abspath(os.path.expanduser(path[len("config:"):] if path.startswith("config:") else path))
    name, changes = name or "main", changes or {}
    _check_readable(path)
    with _explained(path):
        from paste.deploy import loadwsgi

        loader = _changed(_reader(path), changes)
        context, filters = _application(loader.get_context(loadwsgi.APP, name))
        section = _application_section(loader, name)
        settings = {str(key): str(value) for key, value in context.config().items()}
        server = _server_settings(loader, loadwsgi.SERVER, name)
        sections = _sections(path, changes)
    redactor = Redactor(secrets_of(settings, server, *sections.values(), {"--compare-db": compare_db}))
    return Instance(path, name, section, str(context.protocol), settings, server, sections, redactor, filters, changes)


def _check_readable(path: str) -> None:
    if os.path.isdir(path):
        raise ConfigError("%s is a directory; give the ini file in it" % path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigError("%s is not a regular file" % path)
    try:
        with open(path, encoding="utf-8") as file:
            file.read()
    except FileNotFoundError:
        raise ConfigError("the ini file %s does not exist" % path) from None
    except UnicodeDecodeError:
        raise ConfigError("%s is not a text file in UTF-8, so it is no ini file" % path) from None
    except OSError as error:
        raise ConfigError("the ini file %s cannot be read: %s" % (path, error.strerror)) from None


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what configparser and PasteDeploy raise into one sentence, without the values they quote."""
    try:
        yield
    except configparser.DuplicateSectionError as error:
        raise ConfigError("%s has the section [%s] twice (line %s)" % (path, error.section, error.lineno)) from None
    except configparser.DuplicateOptionError as error:
        raise ConfigError(
            "%s has the option %s twice in [%s] (line %s)" % (path, error.option, error.section, error.lineno)
        ) from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError("%s is not an ini file: line %s stands before any [section]" % (path, error.lineno)) from None
    except configparser.ParsingError as error:
        lines = ", ".join(str(line) for line, _ in error.errors)
        raise ConfigError("%s cannot be parsed at line %s" % (path, lines)) from None
    except configparser.InterpolationError as error:
        raise ConfigError(
            "%s: the option %s in [%s] has a broken %%(...)s reference; write a literal %% as %%%%"
            % (path, error.option, error.section)
        ) from None
    except RecursionError:
        raise ConfigError("%s does not load: its 'use' settings lead round in a circle" % path) from None
    except OSError as error:
        raise ConfigError("%s does not load: it uses %s: %s" % (path, error.filename, error.strerror)) from None
    except (LookupError, ValueError, AssertionError, ImportError) as error:
        said = str(error.args[0] if error.args else error).strip().splitlines()
        raise ConfigError("%s does not load: %s" % (path, said[0] if said else type(error).__name__)) from None


def _reader(path: str) -> Any:
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
                raise LookupError("URI scheme not known: %s:" % scheme)
            use = "%s:%s%s" % (scheme, rest, "#" + inner if inner not in ("", "main") else "")
            return loadwsgi.LoaderContext(None, object_type, use, dict(global_conf or {}), {}, self)

        def _context_from_explicit(
            self, object_type: Any, local_conf: Any, global_conf: Any, _additions: Any, section: str
        ) -> Any:
            for option in [option for group in object_type.egg_protocols for option in group if option in local_conf]:
                use = "call:" + local_conf.pop(option)
                return loadwsgi.LoaderContext(None, object_type, use, global_conf, local_conf, self)
            raise LookupError("No loader given in section '%s'" % section)

    return Reader(path)


def _changed(loader: Any, changes: Changes) -> Any:
    """Make `changes` in the parsed file of `loader`, so that they take effect as if they were written there."""
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


def _application_section(loader: Any, name: str) -> str:
    """Return the section with the settings of application `name`, through pipelines; empty when in another file."""
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


def _application(context: Any) -> tuple[Any, tuple[Mapping[str, str], ...]]:
    """Follow the filters and pipelines around an application; return its own context and the options of each."""
    filters = []
    while True:
        around = [getattr(context, "filter_context", None), *getattr(context, "filter_contexts", ())]
        filters += [_options(item) for item in around if item is not None]
        inner = getattr(context, "next_context", None) or getattr(context, "app_context", None)
        if inner is None:
            return context, tuple(filters)
        context = inner


def _server_settings(loader: Any, kind: Any, name: str) -> dict[str, str]:
    for candidate in dict.fromkeys((name, "main")):
        with contextlib.suppress(LookupError):
            context = loader.get_context(kind, candidate)
            return _options(context)
    return {}


def _options(context: Any) -> dict[str, str]:
    """Return the options of a section, ``use`` being the factory it ends up with."""
    found = {str(key): str(value) for key, value in context.local_conf.items()}
    return {**found, "use": str(context.protocol)}


def _sections(path: str, changes: Changes) -> dict[str, dict[str, str]]:
    """Read every section as written, so that a `%` in logging formats means nothing."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return {name: {**parser._sections[name], **changes.get(name, {})}  # type: ignore[attr-defined]
            for name in parser.sections()}
