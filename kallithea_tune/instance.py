"""One ini file, loaded as PasteDeploy loads it, and what hangs off it."""

from __future__ import annotations

import configparser
import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

from kallithea_tune.errors import ConfigError
from kallithea_tune.redact import Redactor, secrets_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

TRUE_WORDS = frozenset({"true", "yes", "on", "y", "t", "1"})


def as_bool(value: object) -> bool:
    """Read a setting the way paste.deploy.converters.asbool does, any other word being false."""
    return str(value).strip().lower() in TRUE_WORDS


@dataclass(frozen=True)
class Instance:
    """A Kallithea (or any PasteDeploy application) as its ini file describes it.

    `settings` is what the application factory will be called with, defaults included;
    `server` the options of the server section; `use` the factory, as in ``egg:kallithea``.
    """

    path: str
    name: str
    use: str
    settings: Mapping[str, str]
    server: Mapping[str, str]
    sections: Mapping[str, Mapping[str, str]]
    redactor: Redactor
    filters: tuple[str, ...] = ()
    _engines: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """The PasteDeploy URI of the application."""
        return "config:%s#%s" % (self.path, self.name)

    def directory(self, key: str) -> Optional[str]:
        """Return the absolute path in option `key`, or None where it is not set."""
        value = self.settings.get(key, "").strip()
        return os.path.join(os.path.dirname(self.path), value) if value else None

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL, password and all: for connecting only, never for showing."""
        return self.settings.get("sqlalchemy.url", "").strip()

    @property
    def sqlite_path(self) -> Optional[str]:
        """The SQLite file, or None for another engine or an in-memory database."""
        if not self.database_url.startswith("sqlite"):
            return None
        from sqlalchemy.engine.url import make_url

        database: Optional[str] = make_url(self.database_url).database
        if not database or database == ":memory:":
            return None
        if database.startswith("file:"):
            database = database[len("file:"):].split("?")[0]
        return os.path.abspath(database)

    def engine(self) -> Engine:
        """Return a SQLAlchemy engine that cannot write and waits at most two seconds for a lock."""
        if "read-only" not in self._engines:
            self._engines["read-only"] = read_only_engine(self.database_url)
        engine: Engine = self._engines["read-only"]
        return engine


def read_only_engine(url: str) -> Engine:
    """Make an engine for `url` whose every connection is read-only by the database's own means.

    Raises ConfigError for an empty or unreadable URL, an unknown dialect, or a missing driver.
    """
    import sqlalchemy
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    if not url:
        raise ConfigError("sqlalchemy.url is empty; set it in the application's section of the ini file")
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        connect_args: dict[str, Any] = {}
        if backend == "sqlite":
            connect_args["timeout"] = 2
        elif backend == "postgresql" or backend == "mysql":
            connect_args["connect_timeout"] = 5
        engine = sqlalchemy.create_engine(url, connect_args=connect_args, poolclass=NullPool)
    except NoSuchModuleError:
        raise ConfigError(
            "sqlalchemy.url names an unknown database dialect '%s'; SQLAlchemy knows sqlite, postgresql and mysql"
            % url.split(":", 1)[0]
        ) from None
    except ArgumentError:
        raise ConfigError("sqlalchemy.url is not a database URL; it reads dialect://user:password@host/name") from None
    except ImportError as error:
        raise ConfigError(
            "the driver for sqlalchemy.url is not installed (%s); install it into this virtual environment" % error
        ) from None

    forbid_writing(engine, backend)
    return engine


def forbid_writing(target: Any, backend: str) -> None:
    """Make every new connection of `target`, an engine or the class `Engine`, read-only; SQLite waits two seconds."""
    import sqlalchemy

    statements = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA busy_timeout = 2000"),
        "postgresql": ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",),
        "mysql": ("SET SESSION TRANSACTION READ ONLY",),
    }.get(backend, ())

    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        if backend == "postgresql":
            connection.commit()

    sqlalchemy.event.listen(target, "connect", prepare)


def load(location: str) -> Instance:
    """Load the application `location` names: ``my.ini``, ``my.ini#name`` or ``config:my.ini#name``.

    The application itself is not imported. Raises ConfigError in one sentence for anything wrong.
    """
    path, _, name = location.partition("#")
    path = os.path.abspath(os.path.expanduser(path[len("config:"):] if path.startswith("config:") else path))
    name = name or "main"
    _check_readable(path)
    with _explained(path):
        from paste.deploy import loadwsgi

        with _factories_left_alone(loadwsgi):
            context = loadwsgi.loadcontext(loadwsgi.APP, "config:" + path, name=name)
            server = _server_settings(loadwsgi, path, name)
        filters = []
        while True:
            if getattr(context, "filter_context", None) is not None:
                filters.append(str(context.filter_context.protocol))
            following = getattr(context, "next_context", None) or getattr(context, "app_context", None)
            if following is None:
                break
            filters += [str(item.protocol) for item in getattr(context, "filter_contexts", ())]
            context = following
        settings = {str(key): str(value) for key, value in context.config().items()}
        sections = _sections(path)
    secrets = secrets_of(settings) | secrets_of(server)
    for section in sections.values():
        secrets |= secrets_of(section)
    return Instance(path, name, str(context.protocol), settings, server, sections, Redactor(secrets), tuple(filters))


def _check_readable(path: str) -> None:
    if os.path.isdir(path):
        raise ConfigError("%s is a directory; give the ini file in it" % path)
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
    except (LookupError, ValueError, OSError, AssertionError) as error:
        said = str(error.args[0] if error.args else error).strip().splitlines()
        raise ConfigError("%s does not load: %s" % (path, said[0] if said else type(error).__name__)) from None


@contextlib.contextmanager
def _factories_left_alone(loadwsgi: Any) -> Iterator[None]:
    """Have PasteDeploy note the ``egg:`` and ``call:`` factories instead of importing them.

    The settings must be readable although the application is broken.
    """

    def note(scheme: str) -> Any:
        def loader(object_type: Any, uri: str, spec: str, name: Any, relative_to: Any, global_conf: Any) -> Any:
            use = "%s:%s%s" % (scheme, spec, "#" + name if name and name != "main" else "")
            return loadwsgi.LoaderContext(None, object_type, use, global_conf or {}, {}, None)

        return loader

    original = dict(loadwsgi._loaders)
    loadwsgi._loaders.update(egg=note("egg"), call=note("call"))
    try:
        yield
    finally:
        loadwsgi._loaders.update(original)


def _server_settings(loadwsgi: Any, path: str, name: str) -> dict[str, str]:
    for candidate in dict.fromkeys((name, "main")):
        try:
            context = loadwsgi.loadcontext(loadwsgi.SERVER, "config:" + path, name=candidate)
        except LookupError:
            continue
        found = {str(key): str(value) for key, value in context.local_conf.items()}
        found["use"] = str(context.protocol)
        return found
    return {}


def _sections(path: str) -> dict[str, dict[str, str]]:
    """Read every section as written, so that a `%` in logging formats means nothing."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return {name: {key: value for key, value in parser._sections[name].items()}  # type: ignore[attr-defined]
            for name in parser.sections()}
