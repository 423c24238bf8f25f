"""What a machine says of its settings, to be compared with those of the others: no secret."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
from importlib import metadata
from typing import Callable, Iterator, Mapping

from kallithea_tune.app.package import kallithea_version
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.scaling import programs
from kallithea_tune.perf_check.scaling.instances import (
    DIRECTORIES,
    Facts,
    Value,
    facts_of,
    slow_digest,
)
from kallithea_tune.system import typed_json
from kallithea_tune.text import shortened

SHOWN = 200  # characters of a value
# What is identified by device and inode; of the database, a file.
PLACES = frozenset({"repositories", "sqlalchemy.url", *DIRECTORIES.values()})
# Servers of two machines may well have the same.
_APART = ("address",)


def facts_here(instance: Instance, token: str) -> Facts:
    """Return the facts of an instance here, for a comparison with this token."""
    salt = bytes.fromhex(token)
    (found,) = facts_of([instance], salt, write=False)
    kept = {name: value for name, value in found.values.items() if name not in _APART}
    kept.update({name: _inode(value) for name, value in kept.items() if name in PLACES})
    kept["versions"] = _plain(_versions())
    jobs, others = _jobs(instance.path)

    def sent(values: Mapping[str, Value]) -> dict[str, Value]:
        return {name: _sent(value, instance.redactor, digest) for name, value in values.items()}

    digest = slow_digest(salt)
    return dataclasses.replace(
        found, values=sent({**kept, **jobs}), more=sent({**found.more, **others})
    )


def _inode(value: Value) -> Value:
    """Return a directory or file by device and inode, as another machine of one kernel has it;
    a URL, and what is not set, as it is.
    """
    if not os.path.isabs(value.shown):
        return value
    try:
        status = os.stat(value.shown)
    except FileNotFoundError:
        return dataclasses.replace(value, failure="it does not exist yet")
    except OSError as error:
        return dataclasses.replace(value, failure=f"it cannot be examined: {error.strerror}")
    return dataclasses.replace(value, identity=f"{status.st_dev}:{status.st_ino}")


def _versions() -> str:
    mercurial = ""
    with contextlib.suppress(metadata.PackageNotFoundError):
        mercurial = metadata.version("mercurial")
    python = ".".join(platform.python_version_tuple()[:2])
    return programs.described(kallithea_version(), mercurial, python)


def _jobs(ini: str) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
    try:
        return programs.jobs_of(programs.tables(), ini)
    except NotMeasured as error:
        return {programs.INDEX: Value("", "", {}, str(error))}, {}


def _plain(text: str) -> Value:
    return Value(text, text, {})


def _sent(value: Value, redactor: Redactor, digest: Callable[[str], str]) -> Value:
    """Return a value without what the ini file has: of what is not shown as it is, the digest."""
    shown = shortened(redactor.text(value.shown), SHOWN)
    same = not value.identity or value.identity == shown
    identity = value.identity if same else digest(value.identity)
    return Value(shown, identity, {}, shortened(redactor.text(value.failure), SHOWN))


def dumped(facts: Facts) -> str:
    """Return the facts as JSON."""
    return json.dumps(typed_json.dump(facts))


def loaded(text: str) -> Facts:
    """Return the facts in what a machine sent. Raises ValueError for anything else."""
    try:
        facts: Facts = typed_json.load(Facts, json.loads(text))
        if not all(isinstance(item, str) for item in _texts(facts)):
            raise TypeError
    except (AttributeError, KeyError, RecursionError, TypeError):
        raise ValueError("these are not the facts of an instance") from None
    return facts


def _texts(facts: Facts) -> Iterator[object]:
    """Yield all that has to be text. Raises TypeError for what a remedy would write."""
    yield from (facts.name, facts.uri, facts.section, facts.machine)
    for name, value in (*facts.values.items(), *facts.more.items()):
        yield from (name, value.shown, value.identity, value.failure)
        if value.option:
            raise TypeError
