"""One ini file, read as PasteDeploy reads it."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from typing import Iterator, Mapping, Optional

from kallithea_tune.config import pastedeploy
from kallithea_tune.config.pastedeploy import Changes
from kallithea_tune.config.redact import Redactor, secrets_of, surroundings
from kallithea_tune.errors import ConfigError
from kallithea_tune.system.programs import beside
from kallithea_tune.text import shell_word

_RELATIVE_SQLITE = re.compile(
    r"(?P<before>sqlite(\+\w+)?:///(file:)?)(?P<path>(?!file:)[^/:?][^?]*)(?P<after>.*)", re.S
)
TRUE_WORDS = frozenset({"true", "yes", "on", "y", "t", "1"})


def as_bool(value: object) -> bool:
    """Read a setting as paste.deploy.converters.asbool does; any other word is false."""
    return str(value).strip().lower() in TRUE_WORDS


@dataclass(frozen=True)
class Instance:
    """A Kallithea as its ini file describes it.

    `use` is the factory, as in ``egg:kallithea``; `settings` are what it will be called with,
    defaults included; `section` is that of the application, empty where it is in another file;
    `server` the options of the server section; `filters` those of each filter, from the outside
    in. `changes` are not in the file: they were made in memory, to be tried.
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

    @property
    def uri(self) -> str:
        """The PasteDeploy URI of the application."""
        return f"config:{self.path}#{self.name}"

    def place(self, key: str) -> tuple[str, str]:
        """Return section and option of a `key` such as ``threads`` or ``server:main.threads``."""
        for section in sorted(self.sections, key=len, reverse=True):
            if key.startswith(section + "."):
                return section, key[len(section) + 1 :]
        return self.section, key

    def with_settings(self, values: Mapping[str, str]) -> Instance:
        """Load the same application with other `values`, in memory only; `place` reads the keys."""
        changes: dict[str, dict[str, str]] = {}
        for key, value in values.items():
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
        """The URL path of the application, as ``/kallithea``; empty for the root.

        PasteDeploy's prefix filter sets it, or a composite that refers to the application.
        """
        path = self.prefix_as_written[0].strip("/")
        return f"/{path}" if path else ""

    @property
    def prefix_as_written(self) -> tuple[str, str]:
        """The URL path as the ini file has it, and where: ``prefix in [filter:proxy-prefix]``."""
        prefixes = [
            options.get("prefix", "")
            for options in self.filters
            if options["use"].endswith("#prefix")
        ]
        if not prefixes:
            return self._mounted_at
        # Each of these filters sets SCRIPT_NAME again, so the innermost counts.
        written = prefixes[-1]
        sections = (
            name for name, options in self.sections.items() if options.get("prefix") == written
        )
        return written, f"prefix in [{next(sections, 'a filter')}]"

    @property
    def _mounted_at(self) -> tuple[str, str]:
        places = (
            (key, f"a path in [{name}]")
            for name, options in self.sections.items()
            if name.startswith("composit")
            for key, value in options.items()
            if key.startswith("/") and value == self.name
        )
        return next(places, ("", ""))

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL with its password: for connecting only, never for showing.

        The path of a SQLite file in it is absolute.
        """
        return absolute_url(self.settings.get("sqlalchemy.url", "").strip())

    def cli(self, arguments: str) -> str:
        """Return the command ``kallithea-cli ARGUMENTS -c INI`` with full paths, as for cron."""
        program, *rest = self.program("kallithea-cli")
        return " ".join([shell_word(program), arguments, *map(shell_word, rest)])

    def program(self, name: str, *arguments: str) -> tuple[str, ...]:
        """Return the words of ``NAME ARGUMENTS -c INI``, with the path of the program beside the
        running Python, where it is there.
        """
        location = self.path + ("" if self.name == "main" or name != "gearbox" else f"#{self.name}")
        return (beside(name), *arguments, "-c", location)


def absolute_url(url: str) -> str:
    """Return a SQLAlchemy URL with the path of a SQLite file made absolute, any other as it is.

    A relative path depends on the working directory, which is another one for our children.
    """
    match = _RELATIVE_SQLITE.match(url)
    return match["before"] + os.path.abspath(match["path"]) + match["after"] if match else url


def load(
    location: str, changes: Optional[Changes] = None, given: Optional[Mapping[str, str]] = None
) -> Instance:
    """Load the application at `location`: ``my.ini``, ``my.ini#name`` or ``config:my.ini#name``.

    The application itself is not imported. Secrets in what was `given` elsewhere, such as the URL
    in a file, are redacted, too. Raises ConfigError in one sentence for anything wrong.
    """
    path, name = _located(location)
    changes = changes or {}
    obstacle = pastedeploy.obstacle(path)
    if obstacle:
        raise ConfigError(f"the ini file {path} {obstacle}")
    with _as_config_errors(path):
        from paste.deploy import loadwsgi

        loader = pastedeploy.changed(pastedeploy.reader(path), changes)
        context, filters = pastedeploy.application(loader.get_context(loadwsgi.APP, name))
        section = pastedeploy.application_section(loader, name)
        settings = {str(key): str(value) for key, value in context.config().items()}
        server = pastedeploy.server_settings(loader, name)
        sections = pastedeploy.sections(path, changes)
    written = (*pastedeploy.every_section(path), *sections.values())
    secrets = secrets_of(settings, server, *written, given or {}, surroundings())
    return Instance(
        path=path,
        name=name,
        section=section,
        use=str(context.protocol),
        settings=settings,
        server=server,
        sections=sections,
        redactor=Redactor(secrets),
        filters=filters,
        changes=changes,
    )


def _located(location: str) -> tuple[str, str]:
    """Return the absolute path and the name in ``PATH#NAME``; a path, too, may contain a ``#``."""
    location = location[len("config:") :] if location.startswith("config:") else location
    path = os.path.abspath(os.path.expanduser(location))
    if os.path.exists(path) or "#" not in path:
        return path, "main"
    path, _, name = location.rpartition("#")
    return os.path.abspath(os.path.expanduser(path)), name or "main"


@contextlib.contextmanager
def _as_config_errors(path: str) -> Iterator[None]:
    """Turn what configparser and PasteDeploy raise into one sentence, without the values in it."""
    try:
        yield
    except configparser.Error as error:
        raise ConfigError(_parse_error(path, error)) from None
    except KeyError as error:
        raise ConfigError(_missing_default(path, str(error.args[0]))) from None
    except RecursionError:
        raise ConfigError(f"{path} does not load: its 'use' settings are circular") from None
    except OSError as error:
        raise ConfigError(
            f"{path} does not load: it uses {error.filename}: {error.strerror}"
        ) from None
    except (LookupError, ValueError, AssertionError, ImportError) as error:
        lines = str(error.args[0] if error.args else error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise ConfigError(f"{path} does not load: {reason}") from None


def _missing_default(path: str, option: str) -> str:
    """Say which ``get`` refers to an `option` that [DEFAULT] does not have."""
    for section, options in pastedeploy.sections(path, {}).items():
        for key, value in options.items():
            if key.startswith("get ") and value == option:
                return (
                    f"{path}: '{key} = {option}' in [{section}] refers to an option that [DEFAULT] "
                    f"does not have; add {option} there"
                )
    return f"{path} does not load: a 'get' refers to {option}, which [DEFAULT] does not have"


def _parse_error(path: str, error: configparser.Error) -> str:
    if isinstance(error, configparser.DuplicateSectionError):
        return f"{path} has the section [{error.section}] twice (line {error.lineno})"
    if isinstance(error, configparser.DuplicateOptionError):
        return (
            f"{path} has the option {error.option} twice in [{error.section}] (line {error.lineno})"
        )
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"{path} is not an ini file: line {error.lineno} comes before any [section]"
    if isinstance(error, configparser.ParsingError):
        lines = ", ".join(str(line) for line, _ in error.errors)
        return f"{path} cannot be parsed at line {lines}"
    if isinstance(error, configparser.InterpolationError):
        return (
            f"{path}: the option {error.option} in [{error.section}] has a broken %(...)s "
            "reference; write a literal % as %%"
        )
    return f"{path} does not load: {str(error).splitlines()[0]}"
