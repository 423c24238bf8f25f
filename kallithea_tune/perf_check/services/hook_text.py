"""Reads what hooks run, for what takes time in it; nothing of it is run."""

from __future__ import annotations

import ast
import os
import re
import shlex
from dataclasses import dataclass
from typing import Iterator, Optional

from kallithea_tune.system.files import Broken, text

READ_BYTES = 64 << 10
# Where a command begins: a line, or behind what separates commands.
_COMMAND = r"(?m)(?:^|[;&|(`]|\b(?:then|do|else|exec|sudo|nohup)\s)[ \t]*(?:/[^\s;&|]{0,200}/)?"
_SLEEP = re.compile(_COMMAND + r"sleep\s+(\d+(?:\.\d+)?)([smhd]?)\b")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PROGRAMS = (
    "curl|wget|ssh|scp|sftp|rsync|ftp|nc|telnet|mail|mailx|mutt|sendmail|svn|aws|docker|kubectl"
)
_NETWORK = re.compile(
    _COMMAND + rf"({_PROGRAMS}|git\s+push|git\s+fetch|hg\s+push|hg\s+pull)(?=\s|$)"
)
_COMMENT = re.compile(r"(?m)^[ \t]*#.*$")
_BACKGROUND = re.compile(r"(?m)^.*[^&]&[ \t]*$")
_MODULES = (
    *("aiohttp", "boto3", "ftplib", "http", "httplib2", "httpx", "ldap", "paramiko", "pika"),
    *("requests", "smtplib", "socket", "subprocess", "telnetlib", "urllib", "urllib2", "urllib3"),
    "xmlrpc",
)


@dataclass(frozen=True)
class Waiting:
    """What takes time in a hook: the seconds that it sleeps, and the programs or modules by which
    it waits for others.
    """

    sleeps: float = 0.0
    network: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sleeps or self.network)

    def __add__(self, other: Waiting) -> Waiting:
        network = dict.fromkeys((*self.network, *other.network))
        return Waiting(self.sleeps + other.sleeps, tuple(network))


def of_mercurial(hook: str) -> Waiting:
    """Read a hook of Mercurial: a command and the script that it runs, or ``python:FILE:NAME``."""
    if hook.startswith("python:"):
        path = hook[len("python:") :].rpartition(":")[0]
        return of_python(_source(path)) if os.path.isabs(path) else Waiting()
    found = of_shell(hook)
    try:
        words = shlex.split(hook)
    except ValueError:
        return found
    for path in filter(os.path.isabs, words[:2]):
        found += of_script(_source(path), path)
    return found


def of_git(path: str, name: str) -> Waiting:
    """Read the hook `name` of the bare Git repository at `path`."""
    try:
        return of_script(text(path, f"hooks/{name}", READ_BYTES))
    except (Broken, OSError):
        return Waiting()


def of_extensions(directory: str, name: str) -> Optional[Waiting]:
    """Read a hook of ``extensions.py`` beside the ini file; None where it does nothing."""
    source = _source(os.path.join(directory, "extensions.py"))
    for node in _parsed(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return of_python(source) if _acts(node) else None
    return None


def _acts(function: ast.FunctionDef) -> bool:
    return any(
        not isinstance(node, ast.Pass)
        and not (isinstance(node, (ast.Expr, ast.Return)) and _constant(node.value))
        for node in function.body
    )


def _constant(node: Optional[ast.expr]) -> bool:
    return node is None or isinstance(node, ast.Constant)


def _source(path: str) -> str:
    directory, name = os.path.split(path)
    try:
        return text(directory, name, READ_BYTES)
    except (Broken, OSError):
        # A link, or nothing that this user may read.
        return ""


def of_script(source: str, path: str = "") -> Waiting:
    """Read a script of the shell or of Python, and nothing of a program or of other languages."""
    first = source.split("\n", 1)[0]
    if "python" in first or path.endswith(".py"):
        return of_python(source)
    return of_shell(source) if re.match(r"#!.*sh\b", first) or path.endswith(".sh") else Waiting()


def of_shell(source: str) -> Waiting:
    """Find ``sleep 10`` and programs of the network where a command begins."""
    source = _BACKGROUND.sub("", _COMMENT.sub("", source))
    sleeps = sum(float(count) * _UNITS[unit] for count, unit in _SLEEP.findall(source))
    network = dict.fromkeys(" ".join(name.split()) for name in _NETWORK.findall(source))
    return Waiting(sleeps, tuple(network))


def of_python(source: str) -> Waiting:
    """Find ``sleep(10)`` and calls of modules of the network, or of those that run programs."""
    tree = _parsed(source)
    names = dict(_imported(tree))
    found = Waiting()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += _call(node, names)
    return found


def _parsed(source: str) -> ast.Module:
    """Return the tree of a module, empty for what is not Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # The last two are what too many brackets or operators end with.
        return ast.Module([], [])


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that imports give, with their modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield (name.asname or name.name).split(".")[0], name.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                yield name.asname or name.name, f"{node.module}.{name.name}"


def _call(node: ast.Call, names: "dict[str, str]") -> Waiting:
    called: ast.expr = node.func
    attribute = called.attr if isinstance(called, ast.Attribute) else ""
    while isinstance(called, ast.Attribute):
        called = called.value
    module = names.get(called.id, "") if isinstance(called, ast.Name) else ""
    if module.split(".")[0] in _MODULES:
        return Waiting(network=(module.split(".")[0],))
    if module == "time.sleep" or (module == "time" and attribute == "sleep"):
        value = node.args[0] if node.args else None
        seconds = value.value if isinstance(value, ast.Constant) else 0
        return Waiting(float(seconds) if isinstance(seconds, (int, float)) else 0.0)
    if module == "os" and attribute in ("system", "popen"):
        return Waiting(network=(f"os.{attribute}",))
    return Waiting()
