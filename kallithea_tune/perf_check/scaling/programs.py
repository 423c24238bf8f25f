"""What runs several instances: the versions that serve each, and the jobs that cron has for it."""

from __future__ import annotations

import os
import re
import shlex
from typing import Iterable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.app.owner import owner_of
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import BY_NOTHING, Context, Deadline, measurement
from kallithea_tune.perf_check.scaling.instances import Facts, Instances, Value, names
from kallithea_tune.perf_check.servers.processes import path_in
from kallithea_tune.perf_check.servers.served import servers
from kallithea_tune.system import child, files
from kallithea_tune.system.account import Account, acting_as

LOOK_SECONDS = 5.0
# Where Debian's and Red Hat's cron, and systemd, have their jobs; the last are one for each user.
SYSTEM = (("/etc", "crontab"), ("/etc/cron.d", ""), ("/etc/systemd/system", ""))
USERS = ("/var/spool/cron/crontabs", "/var/spool/cron")
MOST_FILES, MOST_BYTES = 500, 1 << 18  # a directory of units has about a hundred

INDEX = "index-create"

# A part of Mercurial in C, which every process that serves Kallithea has mapped.
_MAPPED = re.compile(r" (/.*)/mercurial/cext/[^/]+\.so$")
_INSTALLED = re.compile(r"(kallithea|mercurial)-(\d[^-]*)(?:-.*)?\.(?:dist|egg)-info", re.I)
_PYTHON = re.compile(r"/python(\d\.\d+)/")


@measurement(seconds=2.0, decided_by=BY_NOTHING)
def running_versions(context: Context) -> Instances:
    """Look at what the processes run that serve each instance here."""
    together = context.together
    return Instances(
        tuple(
            Facts(name, one.uri, one.section, {"versions": _versions(one)}, {})
            for name, one in zip(names(together), together)
        )
    )


def _versions(instance: Instance) -> Value:
    try:
        found = versions(instance, owner_of(instance).account)
    except NotMeasured as error:
        return Value("", "", {}, str(error))
    return Value(found, found, {})


@measurement(seconds=0.5, decided_by=BY_NOTHING)
def cron_jobs(context: Context) -> Instances:
    """Read what cron and systemd run for each instance.

    Raises NotMeasured as `tables`.
    """
    together = context.together
    texts = child.call(tables, LOOK_SECONDS) if together else {}
    return Instances(
        tuple(
            Facts(name, one.uri, one.section, *jobs_of(texts, one.path))
            for name, one in zip(names(together), together)
        )
    )


def jobs_of(texts: Mapping[str, str], ini: str) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return in which files the command is that has a rule, and in which the others."""
    found = {command: _job(paths) for command, paths in jobs(texts, ini).items()}
    return {INDEX: found.pop(INDEX, _job(()))}, found


def _job(paths: Sequence[str]) -> Value:
    return Value(", ".join(paths), "by cron" if paths else "", {})


def versions(instance: Instance, account: Optional[Account]) -> str:
    """Return what serves the instance: ``Kallithea 0.7.0, Mercurial 5.9.3, Python 3.8``.

    Of processes that differ, all. Raises NotMeasured where none runs here, or does not show it.
    """
    found = Context(instance, Deadline(LOOK_SECONDS)).measure(servers)
    pids = sorted({worker.pid for one in found.served for worker in one.workers})
    if not pids:
        raise NotMeasured("no process serves it here")
    return child.call(versions_of, LOOK_SECONDS, pids=pids, account=account)


def versions_of(pids: Sequence[int], account: Optional[Account]) -> str:
    """Return what these processes run, as `versions`; for a child.

    As `account`, names of directories are read, and nothing that they contain.
    """
    with acting_as(account):
        places = {place for pid in pids for place in _libraries(_mapped(pid))}
        found = sorted({_described(place, os.listdir(place)) for place in places})
    if not found:
        raise NotMeasured("its processes do not show what they run")
    return "; ".join(found)


def _mapped(pid: int) -> Iterator[str]:
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as lines:
            yield from lines
    except OSError:
        return


def _libraries(lines: Iterable[str]) -> Iterator[str]:
    """Yield the directories of the libraries that are mapped."""
    for line in lines:
        match = _MAPPED.search(line.rstrip("\n"))
        if match:
            yield match[1]


def _described(place: str, names: Iterable[str]) -> str:
    matches = filter(None, map(_INSTALLED.fullmatch, names))
    found = {match[1].lower(): match[2] for match in matches}
    python = _PYTHON.search(place + "/")
    return described(
        found.get("kallithea", ""), found.get("mercurial", ""), python[1] if python else ""
    )


def described(kallithea: str, mercurial: str, python: str) -> str:
    """Return versions as they are shown and compared; those that are empty are unknown."""
    versions = {"Kallithea": kallithea, "Mercurial": mercurial, "Python": python}
    return ", ".join(f"{name} {version or 'unknown'}" for name, version in versions.items())


def tables() -> Mapping[str, str]:
    """Return the text of each file of jobs by path; for a child.

    Raises NotMeasured where some of them can only be read by root.
    """
    found: dict[str, str] = {}
    for directory, name in (*SYSTEM, *((place, "") for place in USERS)):
        try:
            for one in [name] if name else sorted(os.listdir(directory))[:MOST_FILES]:
                _add(found, directory, one)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise NotMeasured(f"only root can read {error.filename}") from None
    return found


def _add(found: dict[str, str], directory: str, name: str) -> None:
    try:
        text = files.text(directory, name, MOST_BYTES)
    except files.Broken:
        return  # a link or a directory: units are linked where they are installed
    if text:
        found[os.path.join(directory, name)] = text


def jobs(texts: Mapping[str, str], ini: str) -> dict[str, list[str]]:
    """Return the commands of kallithea-cli that run for an ini file, each with its files of jobs.

    A relative path is taken for the ini file of that name.
    """
    found: dict[str, list[str]] = {}
    for path, text in texts.items():
        for words in map(_words, text.splitlines()):
            command = _command(words)
            if command and any(_is(word, ini) for word in words):
                found.setdefault(command, []).append(path)
    return {command: list(dict.fromkeys(paths)) for command, paths in found.items()}


def _words(line: str) -> Sequence[str]:
    if line.lstrip().startswith("#"):
        return ()
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _command(words: Sequence[str]) -> str:
    """Return the command of kallithea-cli in a line, as in ``index-create``; empty for none."""
    for number, word in enumerate(words[:-1]):
        if os.path.basename(word) == "kallithea-cli":
            return words[number + 1]
    return ""


def _is(word: str, ini: str) -> bool:
    word = path_in(word.partition("=")[2] or word, "")
    if os.path.isabs(word):
        return os.path.realpath(word) == os.path.realpath(ini)
    return os.path.basename(word) == os.path.basename(ini)
