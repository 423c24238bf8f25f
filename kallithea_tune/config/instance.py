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

from kallithea_tune.config import pastedeploy
from kallithea_tune.config.pastedeploy import Changes
from kallithea_tune.config.redact import Redactor, secrets_of
from kallithea_tune.errors import ConfigError

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
        return f"config:{self.path}#{self.name}"

    def contexts(self) -> tuple[Any, Any]:
        """Import the factories; return PasteDeploy's context of the whole and of the application
        inside its filters.
        """
        from paste.deploy import loadwsgi

        whole = pastedeploy.changed(loadwsgi.ConfigLoader(self.path), self.changes).get_context(
            loadwsgi.APP, self.name
        )
        return whole, pastedeploy.application(whole)[0]

    def place(self, key: str) -> tuple[str, str]:
        """Return the section and option that `key` means: ``threads``, or
        ``server:main.threads``.
        """
        for section in sorted(self.sections, key=len, reverse=True):
            if key.startswith(section + "."):
                return section, key[len(section) + 1 :]
        return self.section, key

    def with_settings(self, wanted: Mapping[str, str]) -> Instance:
        """Load the same application again with other values, in memory only; each key as `place`
        reads it.
        """
        changes: dict[str, dict[str, str]] = {}
        for key, value in wanted.items():
            section, option = self.place(key)
            changes.setdefault(section, {})[option] = value
        loaded = load(f"{self.path}#{self.name}", changes)
        return replace(loaded, redactor=Redactor(self.redactor.secrets | loaded.redactor.secrets))

    def directory(self, key: str) -> Optional[str]:
        """Return the absolute path in option `key`, or None where it is not set."""
        value = self.settings.get(key, "").strip()
        return os.path.join(os.path.dirname(self.path), value) if value else None

    @property
    def prefix(self) -> str:
        """The path below which PasteDeploy's prefix filter expects the application: ``/kallithea``,
        empty without.
        """
        found = [
            item.get("prefix", "").strip("/")
            for item in self.filters
            if item["use"].endswith("#prefix")
        ]
        # Each of these filters sets SCRIPT_NAME anew, so the innermost counts.
        return "/" + found[-1] if found and found[-1] else ""

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL, password and all: for connecting only, never for showing."""
        return self.settings.get("sqlalchemy.url", "").strip()

    def cli(self, words: str) -> str:
        """Return the command line ``kallithea-cli WORDS -c INI`` with whole paths, as cron needs
        them.
        """
        program = os.path.join(os.path.dirname(sys.executable), "kallithea-cli")
        return "{} {} -c {}".format(
            shlex.quote(program) if os.path.exists(program) else "kallithea-cli",
            words,
            shlex.quote(self.path),
        )

    @property
    def sqlite_path(self) -> Optional[str]:
        """The SQLite file, or None for another engine or an in-memory database."""
        from kallithea_tune.db.engine import sqlite_file

        return sqlite_file(self.database_url)

    def engine(self) -> Engine:
        """Return a SQLAlchemy engine that cannot write and waits at most two seconds for a lock."""
        from kallithea_tune.db.engine import read_only_engine

        if "read-only" not in self._engines:
            self._engines["read-only"] = read_only_engine(self.database_url)
        engine: Engine = self._engines["read-only"]
        return engine

    def package(self) -> str:
        """Return the top-level package of the application: ``kallithea``. Raises ConfigError where
        it has none.
        """
        factory = self.contexts()[1].object
        name = getattr(factory, "__module__", "") or ""
        if not name:
            raise ConfigError(f"{self.path} names an application whose package cannot be told")
        return str(name.split(".")[0])

    def metadata(self, named: str = "") -> Any:
        """Return the SQLAlchemy metadata of the application's models, or what `named` says as
        ``module:attribute``.

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
        raise ConfigError(
            "the application's tables were not found in {}; name them with --metadata module:attribute".format(
                " or ".join(places)
            )
        )

    def schema_heads(self) -> tuple[str, ...]:
        """Return the newest revisions of the application's own Alembic scripts; none where it has
        no such scripts.
        """
        import importlib

        directory = os.path.dirname(str(importlib.import_module(self.package()).__file__))
        scripts = os.path.join(directory, "alembic")
        if not os.path.isdir(scripts):
            return ()
        from alembic.script import ScriptDirectory

        return tuple(sorted(ScriptDirectory(scripts).get_heads()))


def load(location: str, changes: Optional[Changes] = None, compare_db: str = "") -> Instance:
    """Load the application `location` names: ``my.ini``, ``my.ini#name`` or ``config:my.ini#name``.

    The application itself is not imported. Secrets in the URL `compare_db` are kept out of sight,
    too. Raises ConfigError in one sentence for anything wrong.
    """
    path, _, name = location.partition("#")
    path = os.path.abspath(
        os.path.expanduser(path[len("config:") :] if path.startswith("config:") else path)
    )
    name, changes = name or "main", changes or {}
    _check_readable(path)
    with _explained(path):
        from paste.deploy import loadwsgi

        loader = pastedeploy.changed(pastedeploy.reader(path), changes)
        context, filters = pastedeploy.application(loader.get_context(loadwsgi.APP, name))
        section = pastedeploy.application_section(loader, name)
        settings = {str(key): str(value) for key, value in context.config().items()}
        server = pastedeploy.server_settings(loader, name)
        sections = pastedeploy.sections(path, changes)
    redactor = Redactor(
        secrets_of(settings, server, *sections.values(), {"--compare-db": compare_db})
    )
    return Instance(
        path,
        name,
        section,
        str(context.protocol),
        settings,
        server,
        sections,
        redactor,
        filters,
        changes,
    )


def _check_readable(path: str) -> None:
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory; give the ini file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigError(f"{path} is not a regular file")
    try:
        with open(path, encoding="utf-8") as file:
            file.read()
    except FileNotFoundError:
        raise ConfigError(f"the ini file {path} does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file in UTF-8, so it is no ini file") from None
    except OSError as error:
        raise ConfigError(f"the ini file {path} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what configparser and PasteDeploy raise into one sentence, without the values they
    quote.
    """
    try:
        yield
    except configparser.DuplicateSectionError as error:
        raise ConfigError(
            f"{path} has the section [{error.section}] twice (line {error.lineno})"
        ) from None
    except configparser.DuplicateOptionError as error:
        raise ConfigError(
            f"{path} has the option {error.option} twice in [{error.section}] (line {error.lineno})"
        ) from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError(
            f"{path} is not an ini file: line {error.lineno} stands before any [section]"
        ) from None
    except configparser.ParsingError as error:
        lines = ", ".join(str(line) for line, _ in error.errors)
        raise ConfigError(f"{path} cannot be parsed at line {lines}") from None
    except configparser.InterpolationError as error:
        raise ConfigError(
            f"{path}: the option {error.option} in [{error.section}] has a broken %(...)s reference; write a literal % as %%"
        ) from None
    except RecursionError:
        raise ConfigError(
            f"{path} does not load: its 'use' settings lead round in a circle"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} does not load: it uses {error.filename}: {error.strerror}"
        ) from None
    except (LookupError, ValueError, AssertionError, ImportError) as error:
        said = str(error.args[0] if error.args else error).strip().splitlines()
        raise ConfigError(
            f"{path} does not load: {said[0] if said else type(error).__name__}"
        ) from None
