"""What several instances have to have in common, as their ini files and what these lead to say."""

from __future__ import annotations

import errno
import functools
import hashlib
import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass, replace
from typing import Callable, Mapping, Optional, Sequence

from kallithea_tune.app import beaker_config, directories
from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.config.secret_names import is_secret_key
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import ConfigError, NotMeasured, TuneError
from kallithea_tune.perf_check.celery.request_tasks import uses_celery
from kallithea_tune.perf_check.database.server import connected
from kallithea_tune.perf_check.measurement import BY_NOTHING, Context, Examined, measurement
from kallithea_tune.perf_check.repositories.root import root_in_database
from kallithea_tune.perf_check.scaling.same_storage import crossings
from kallithea_tune.perf_check.scaling.sameness import Found, identities
from kallithea_tune.system import child

ANSWER_SECONDS = 8.0
# What makes a guess of a secret by its digest cost about 0.1 s: our judgement.
ROUNDS = 100_000
# The moment at which a server was started tells two apart, whatever they are called.
_SERVERS = {
    "postgresql": "SELECT concat_ws('/', pg_postmaster_start_time(), current_database())",
    "mysql": "SELECT concat_ws('/', @@hostname, @@port, @@datadir, database())",
}


@dataclass(frozen=True)
class Value:
    """What an instance has for a setting: as it may be `shown`, and what is compared.

    Two values with the same `identity` are the same thing, whatever they are called. `option` is
    what the ini file would have for it, a secret included: to write, never to show. `failure` is
    why the identity is not known, and `note` how the thing was recognised under another name.
    """

    shown: str
    identity: str
    option: Mapping[str, str]
    failure: str = ""
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """One instance: what it is called, where it lies, and its values by setting: those that have a
    rule, and `more`, which are as in the ini file.

    `machine` is the address of its own that it listens at, empty where that may be this machine's.
    """

    name: str
    uri: str
    section: str
    values: Mapping[str, Value]
    more: Mapping[str, Value]
    machine: str = ""


@dataclass(frozen=True)
class Instances:
    """The facts of all instances, in the order in which they were given; none of one alone."""

    facts: tuple[Facts, ...] = ()

    @property
    def examined(self) -> Examined:
        """The values that could be compared."""
        values = [value for item in self.facts for value in item.values.values()]
        return Examined(sum(not value.failure for value in values), len(values), "setting")


@dataclass(frozen=True)
class Looks:
    """What was found behind the URLs and paths of all instances, each looked at once.

    `found` has by setting the identity of each path and URL, `roots` the directory of the
    repositories by the URL of the database.
    """

    found: Mapping[str, Mapping[str, Found]]
    roots: Mapping[str, Found]
    digest: Callable[[str], str]

    def value(self, setting: str, place: str, shown: str = "", option: bool = True) -> Value:
        """Return the value of a setting that leads to `place`, a path or a URL."""
        options = {setting: place} if option else {}
        if not place:
            return Value("", "unset", options)
        found = self.found[setting][place]
        return Value(shown or place, found.identity, options, found.failure, found.note)


def _of_several(context: Context) -> bool:
    """Whether there are instances to compare."""
    return bool(context.together)


@measurement(
    seconds=3.0,
    writes="a file in each directory that instances name differently",
    needs=("database",),
    decided_by=BY_NOTHING,
    requested=_of_several,
)
def instances(context: Context) -> Instances:
    """Read the settings of all instances, and look at the databases and directories in them."""
    return Instances(facts_of(context.together, secrets.token_bytes(16), write=True))


@measurement(
    needs=("database",),
    decided_by=BY_NOTHING,
    requested=_of_several,
)
def instances_unproven(context: Context) -> Instances:
    """Do the same without writing anything: storage is compared by device and inode only."""
    return Instances(facts_of(context.together, secrets.token_bytes(16), write=False))


def facts_of(together: Sequence[Instance], salt: bytes, write: bool) -> tuple[Facts, ...]:
    """Return the facts of instances; secrets are compared by digests with this salt.

    Storage is recognised by what is written there and read elsewhere, if that is allowed.
    """
    looks = _look(together, salt, write)
    return tuple(
        Facts(
            name,
            one.uri,
            one.section,
            _values(one, looks),
            _more(one, looks),
            _machine(one.server),
        )
        for name, one in zip(names(together), together)
    )


def names(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Return the shortest names that tell the ini files apart: ``web1.ini`` or ``/etc/b/my.ini``.

    Raises ConfigError for one that is given twice.
    """
    paths = [_location(instance, instance.path) for instance in instances]
    files = {os.path.realpath(instance.path) + "#" + instance.name for instance in instances}
    if len(files) < len(instances):
        raise ConfigError(f"an ini file is given twice: {', '.join(paths)}")
    short = [_location(instance, os.path.basename(instance.path)) for instance in instances]
    return tuple(short if len(set(short)) == len(short) else paths)


def _location(instance: Instance, path: str) -> str:
    return path if instance.name == "main" else f"{path}#{instance.name}"


def _look(together: Sequence[Instance], salt: bytes, write: bool) -> Looks:
    urls = {instance.database_url for instance in together}
    roots = {url: _found(root_in_database, url) for url in urls}
    servers = {url: _found(_server, url) for url in urls if not sqlite_file(url)}
    paths = [_directories(instance) for instance in together]
    groups = {name: [own[name] for own in paths if own[name]] for name in DIRECTORIES.values()}
    groups["repositories"] = [root.identity for root in roots.values() if root.identity]
    groups["sqlalchemy.url"] = [path for path in map(sqlite_file, urls) if path]
    found = _identities({name: sorted(set(group)) for name, group in groups.items()}, write)
    found["sqlalchemy.url"] = {**found["sqlalchemy.url"], **servers}
    return Looks(found, roots, slow_digest(salt))


def _identities(groups: Mapping[str, Sequence[str]], write: bool) -> dict[str, Mapping[str, Found]]:
    """Return by setting and path what is there; why that is not known, where a disk hangs."""
    try:
        looked = crossings(list(groups.values()), ANSWER_SECONDS, write)
    except NotMeasured as error:
        return {
            name: {path: Found("", str(error)) for path in paths} for name, paths in groups.items()
        }
    return {name: identities(crossing) for name, crossing in zip(groups, looked)}


def _found(function: Callable[..., str], url: str) -> Found:
    """Return what `function` finds in the database, in a child since that may hang."""
    try:
        return Found(child.call(function, ANSWER_SECONDS, url=url))
    except (NotMeasured, TuneError) as error:
        return Found("", str(error))


def slow_digest(salt: bytes) -> Callable[[str], str]:
    """Return a slow digest, which is another one in each run with a salt of its own."""

    @functools.lru_cache(maxsize=None)
    def digest(text: str) -> str:
        return hashlib.pbkdf2_hmac("sha256", text.encode("utf-8"), salt, ROUNDS).hex()

    return digest


def _values(instance: Instance, looks: Looks) -> dict[str, Value]:
    settings, url = instance.settings, instance.database_url
    path = sqlite_file(url)
    database = looks.value("sqlalchemy.url", path or url, path or _shown(url))
    values = {"sqlalchemy.url": replace(database, option={"sqlalchemy.url": url})}
    root = looks.roots[url]
    values["repositories"] = (
        Value("", "", {}, root.failure)
        if root.failure
        else looks.value("repositories", root.identity, option=False)
    )
    values["session.type"] = _plain("session.type", beaker_config.session_type(settings))
    for name, default in _DEFAULTS.items():
        values[name] = _plain(name, settings.get(name, "").strip() or default)
    for name in _SECRETS:
        values[name] = _secret(name, settings.get(name, ""), looks.digest)
    for name, path in _directories(instance).items():
        value = looks.value(name, path)
        values[name] = replace(value, option={**value.option, **_INSTEAD.get(name, {})})
    celery = str(as_bool(settings.get("use_celery", ""))).lower()
    values["use_celery"] = _plain("use_celery", celery)
    values["celery.broker_url"] = _broker(instance, looks.digest)
    values["address"] = _plain("", _address(instance.server))
    return values


# Beaker's, Celery's and Kallithea's own defaults.
_DEFAULTS = {
    "session.key": "beaker.session.id",
    "session.url": "",
    "session.cookie_domain": "",
    "session.cookie_path": "/",
    "celery.task_default_queue": "celery",
    "git_hook_interpreter": "",
    "ssh_authorized_keys": "",
    "kallithea_cli_path": "kallithea-cli",
}
_SECRETS = ("session.secret", "session.validate_key", "session.encrypt_key", "app_instance_uuid")
DIRECTORIES = {
    "sessions": "session.data_dir",
    "cache_dir": "cache_dir",
    "index_dir": "index_dir",
    "archives": "archive_cache_dir",
    "file cache": "cache.data_dir",
    "cache locks": "beaker.cache.lock_dir",
}
# To Beaker these two are one option, of which the later counts.
_INSTEAD = {"cache.data_dir": {"beaker.cache.data_dir": ""}}


def _more(instance: Instance, looks: Looks) -> dict[str, Value]:
    """Return all settings and those of the server, as text."""
    settings = {
        **instance.settings,
        **{f"server: {name}": text for name, text in instance.server.items()},
    }
    shown = instance.redactor.value(settings)
    return {
        name: _secret(name, text, looks.digest)
        if is_secret_key(name)
        else Value(shown[name], text, {})
        for name, text in settings.items()
        if name not in ("here", "__file__")
    }


def _plain(name: str, text: str) -> Value:
    return Value(text, text, {name: text})


def _secret(name: str, text: str, digest: Callable[[str], str]) -> Value:
    return Value("", digest(text) if text else "unset", {name: text})


def _directories(instance: Instance) -> dict[str, str]:
    paths = directories.configured(instance)
    return {name: paths.get(key, "") for key, name in DIRECTORIES.items()}


def _shown(url: str) -> str:
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "unusable"
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.get_backend_name()}://{parsed.host or ''}{port}/{parsed.database or ''}"


def _server(url: str) -> str:
    import sqlalchemy

    with connected(url) as connection:
        query = _SERVERS.get(connection.dialect.name)
        if not query:
            raise NotMeasured(f"{connection.dialect.name} is not a supported engine")
        return str(connection.execute(sqlalchemy.text(query)).scalar())


def _broker(instance: Instance, digest: Callable[[str], str]) -> Value:
    """Return the broker, whose password is part of its identity and not of what is shown."""
    url: Optional[str] = instance.settings.get("celery.broker_url", "amqp://")
    if not url or not uses_celery(instance):
        return Value("", "unset", {})
    return Value(instance.redactor.text(url), digest(url), {"celery.broker_url": url})


def _machine(server: Mapping[str, str]) -> str:
    """Return the host that a server listens at where it is no address of this machine."""
    host = server.get("host") or _address(server).rpartition(":")[0]
    try:
        ipaddress.ip_address(host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as one:
            one.bind((host, 0))
    except ValueError:
        return ""  # a name, or all addresses
    except OSError as error:
        return host if error.errno == errno.EADDRNOTAVAIL else ""
    return ""


def _address(server: Mapping[str, str]) -> str:
    """Return where the server of the ini file listens, empty where it does not say so."""
    if server.get("listen") or server.get("bind"):
        return server.get("listen") or server["bind"]
    return f"{server.get('host', '')}:{server['port']}" if server.get("port") else ""
