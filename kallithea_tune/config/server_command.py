"""What the command line of a running server says: which program it is, and what it was given."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from typing import Iterator, Mapping, Optional, Sequence

_LAUNCHERS = ("gearbox", "paster")
_GUNICORN_SHORT = {
    "w": "workers",
    "k": "worker-class",
    "t": "timeout",
    "b": "bind",
    "c": "config",
}
_UWSGI_SHORT = {"p": "processes", "w": "module", "s": "socket", "H": "home"}
_UWSGI_FILES = ("ini", "ini-paste", "ini-paste-logged", "paste", "paste-logged")
# What gunicorn's process names look like where setproctitle is installed.
_GUNICORN_TITLE = re.compile(r"gunicorn: \w+ \[(?P<name>[^\]]*)\]")
_UWSGI_TITLE = re.compile(r"(\S* )?uWSGI (master|worker|http|cheaper)")


@dataclass(frozen=True)
class Start:
    """The start of a server: its `program`, and the arguments that matter.

    `options` are those of the command line, in the spelling of the server's settings; `section` is
    that of ``--server-name``; `files` are the paths among the arguments. `renamed` says that the
    process shows a title of its own in place of its command line.
    """

    program: str
    options: Mapping[str, str] = field(default_factory=dict)
    section: str = ""
    files: tuple[str, ...] = ()
    renamed: bool = False


def start_of(words: Sequence[str]) -> Optional[Start]:
    """Return what a command line starts, None where that is no server that we know."""
    if not words:
        return None
    title = _GUNICORN_TITLE.match(words[0])
    if title:
        return Start("gunicorn", files=(title["name"],), renamed=True)
    if _UWSGI_TITLE.match(words[0]):
        return Start("uwsgi", renamed=True)
    if words[0].startswith("(wsgi:"):
        return Start("mod_wsgi", section=words[0][6:].rstrip(") "), renamed=True)
    program, arguments = program_of(words)
    if program in _LAUNCHERS and "serve" in arguments or program in ("pserve", "waitress-serve"):
        return _paste(program, arguments)
    if program in ("gunicorn", "gunicorn_paster"):
        return _gunicorn(arguments)
    if program.startswith("uwsgi"):
        return _uwsgi(arguments)
    if program in ("apache2", "httpd"):
        chosen = dict(_options(arguments, {"f": "file", "d": "root", "k": "signal"}))
        return Start("apache", files=tuple(filter(None, [chosen.get("file")])))
    return None


def program_of(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of the program behind an interpreter and its options, and its arguments."""
    at, module = 0, False
    if re.match(r"(python|pypy)[\d.]*$", os.path.basename(words[0])):
        at = 1
        while at < len(words) and words[at].startswith("-") and not module:
            module = words[at] == "-m"
            at += 2 if words[at] in ("-X", "-W") else 1
    name = os.path.basename(words[at]) if at < len(words) else ""
    return name.partition(".")[0] if module else name, words[at + 1 :]


def _paste(program: str, arguments: Sequence[str]) -> Start:
    options = dict(_options(arguments, {"c": "config", "s": "server", "n": "app-name"}))
    given = [word for word in arguments if ".ini" in word and not word.startswith("-")]
    default = [options["config"]] if "config" in options else given[:1]
    files = default or (["development.ini"] if program == "gearbox" else [])
    section = options.get("server-name", "")
    own = {"use": f"egg:gearbox#{options['server']}"} if "server" in options else {}
    return Start(program, own, section, tuple(files))


def _gunicorn(arguments: Sequence[str]) -> Start:
    given = dict(_options(arguments, _GUNICORN_SHORT, ("preload", "reload", "daemon")))
    files = tuple(given[key] for key in ("paste", "paster", "config") if key in given)
    files += tuple(word for word in arguments[-1:] if ".ini" in word and word not in files)
    options = {key.replace("-", "_"): value for key, value in given.items()}
    if "preload" in options:
        options["preload_app"] = "true"
    return Start("gunicorn", options, files=files)


def _uwsgi(arguments: Sequence[str]) -> Start:
    given = dict(_options(arguments, _UWSGI_SHORT, ("lazy-apps", "lazy", "master", "M")))
    files = [given[key] for key in _UWSGI_FILES if key in given]
    files += [word for word in arguments if re.search(r"\.ini(:\w+)?$", word) and word not in files]
    return Start("uwsgi", given, files=tuple(dict.fromkeys(files)))


def _options(
    arguments: Sequence[str], short: Mapping[str, str], flags: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield name and value of each option: ``--a=b``, ``--a b``, ``-a b`` and ``-ab``."""
    at = 0
    while at < len(arguments):
        word, at = arguments[at], at + 1
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("--"):
            pass
        elif word.startswith("-") and word[1:2] in short:
            name, value, equals = short[word[1]], word[2:], word[2:]
        else:
            continue
        if name in flags:
            yield name, "true"
        elif equals:
            yield name, value
        elif at < len(arguments) and not arguments[at].startswith("-"):
            yield name, arguments[at]
        else:
            yield name, "true"


def python_settings(text: str) -> Optional[dict[str, str]]:
    """Return the plain assignments of gunicorn's own file, None where there is more in it."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    found, complete = {}, True
    for line in body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            try:
                found[line.targets[0].id] = str(ast.literal_eval(line.value))
            except (ValueError, TypeError):
                complete = False
        elif not isinstance(line, (ast.Import, ast.ImportFrom, ast.Expr, ast.FunctionDef)):
            complete = False
    return found if complete else None


def uwsgi_settings(text: str) -> dict[str, str]:
    """Return the options below ``[uwsgi]`` in the text of an ini file."""
    found, inside = {}, False
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line.lower().startswith("[uwsgi]")
        elif inside and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found
