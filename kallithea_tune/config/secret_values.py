"""Collects the secrets that an ini file, the environment and the arguments hold."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import stat
import sys
from typing import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from kallithea_tune.config import secret_patterns
from kallithea_tune.config.secret_names import is_secret_key

_FORMS = ("set ", "get ")  # of an option, in PasteDeploy
_URLS = re.compile(r"(?=\b[a-zA-Z][a-zA-Z0-9+.\-]{0,30}://)")
# What is no more than a word may be in paths and names as well; anything else is not by chance.
_WORD = re.compile(r"[A-Za-z]+(?:[_.\-][A-Za-z]+)*|[0-9]{1,5}")
# The argument of logging's own handlers that holds user and password.
_CREDENTIALS = {"SMTPHandler": 4, "HTTPHandler": 4}
_PLAIN_HANDLERS = re.compile(r"(?:Stream|File|Rotating\w+|SysLog|Null|Socket|Datagram|Memory)\w*$")
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[^\s/.@:]{10,}")
_WORKING_DIRECTORIES = ("PWD", "OLDPWD")
_MOST_BYTES = 1 << 16  # of a file with passwords


def secrets_of(*sections: Mapping[str, object]) -> frozenset[str]:
    """Return the secret values in `sections`: of secret options, in URLs, in arguments of handlers.

    A mere word that is also in other settings, as in ``kallithea:kallithea@localhost``, is left
    out: masking it everywhere would spoil paths and names, and in a path nobody can tell that it is
    the password.
    """
    secrets: set[str] = set()
    public = []
    for section in sections:
        for name, given in section.items():
            option, value = _option(str(name)), str(given)
            if is_secret_key(option):
                found = {value, *value.splitlines(), *_in_text(value)}
                public.append(option)
            else:
                found = {*_in_text(value), *_of_handler(option, value, section)}
                public.append(f"{option} = {_without(value, found)}")
            secrets |= {item.strip() for item in found}
            secrets |= {item.strip().replace("%%", "%") for item in found}
    everything_public = "\n".join(public)
    return frozenset(
        value
        for value in secrets
        if value and not (_WORD.fullmatch(value) and value in everything_public)
    )


def surroundings() -> dict[str, str]:
    """Return the environment variables and the command's arguments, as a section for `secrets_of`.

    With the passwords in the file that PostgreSQL's client reads.
    """
    section = {
        name: value for name, value in os.environ.items() if name not in _WORKING_DIRECTORIES
    }
    for number, argument in enumerate(sys.argv[1:]):
        name, equals, value = argument.lstrip("-").partition("=")
        if equals and is_secret_key(name):
            section[f"{number}.{name}"] = value
        section[f"argument {number}"] = argument
    pgpass = os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    section["pgpass"] = "\n".join(_of_files([pgpass]))
    return section


def _option(name: str) -> str:
    for form in _FORMS:
        if name.startswith(form):
            return name[len(form) :].strip()
    return name


def _without(value: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        value = value.replace(secret, secret_patterns.MASK) if secret else value
    return secret_patterns.masked(value)


def _in_text(value: str) -> Iterator[str]:
    """Yield what looks like a secret in `value`, and the secrets of every URL in it."""
    for start, end in secret_patterns.suspects(value):
        found = value[start:end].strip("'\"")
        yield found
        if "@" in found:
            # Which @ ends a password depends on the reader of the URL: each is assumed.
            pieces = found.split("@")
            yield from ("@".join(pieces[:count]) for count in range(1, len(pieces)))
    if "://" in value:
        for part in _URLS.split(value):
            yield from _in_query(part)


def _in_query(url: str) -> Iterator[str]:
    with contextlib.suppress(ValueError):
        query = urlsplit(url.strip().rstrip("'\"),;")).query
        for name, text in parse_qsl(query):
            if is_secret_key(name):
                yield text
            elif name in ("read_default_file", "passfile", "service_file"):
                yield from _of_files([unquote(text)])


def _of_handler(option: str, value: str, section: Mapping[str, object]) -> Iterator[str]:
    """Yield the secrets in the arguments of a logging handler: ``args = (("host", 25), ...)``."""
    name = str(section.get("class", "")).rpartition(".")[2]
    if option not in ("args", "kwargs") or not name:
        return
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.parse(value.strip(), mode="eval").body
        for node in ast.walk(tree):
            yield from _named(node)
        position = _CREDENTIALS.get(name)
        if position is not None and isinstance(tree, ast.Tuple):
            for credentials in tree.elts[position : position + 1]:
                yield from _texts(credentials, 1)
        elif not _PLAIN_HANDLERS.match(name):
            yield from (text for text in _texts(tree) if _RANDOM.fullmatch(text))


def _named(node: ast.AST) -> Iterator[str]:
    """Yield the texts behind names such as ``password`` and ``credentials`` in an expression."""
    if isinstance(node, ast.Dict):
        for key, item in zip(node.keys, node.values):
            for text in _texts(key) if key else ():
                if is_secret_key(text):
                    yield from _texts(item, int(text == "credentials"))
    elif isinstance(node, ast.keyword) and node.arg and is_secret_key(node.arg):
        yield from _texts(node.value, int(node.arg == "credentials"))


def _texts(node: ast.AST, first: int = 0) -> list[str]:
    """Return the texts in an expression, from the `first` on; a user comes before a password."""
    texts = [
        item.value if isinstance(item.value, str) else item.value.decode("utf-8", "replace")
        for item in ast.walk(node)
        if isinstance(item, ast.Constant) and isinstance(item.value, (str, bytes))
    ]
    return texts[first:] if len(texts) > first else texts


def _of_files(paths: Iterable[str]) -> Iterator[str]:
    """Yield the passwords in files of PostgreSQL's and MariaDB's clients."""
    for path in paths:
        for line in _lines(path):
            name, equals, value = line.partition("=")
            if equals and is_secret_key(name.strip()):
                yield value.strip().strip("'\"")
            elif len(re.findall(r"(?<!\\):", line)) == 4:
                yield re.sub(r"\\(.)", r"\1", re.split(r"(?<!\\):", line)[4])


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError, ValueError):
        # Not a pipe, on which opening would wait.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(handle, "rb") as file:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return file.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    return []
