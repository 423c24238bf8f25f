"""Apache's mod_wsgi: which daemon processes its configuration sets up for an ini file."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence

from kallithea_tune.config.wsgi_server import Server, mod_wsgi

_DIRECTIVE = re.compile(
    r"^[ \t]*(WSGIDaemonProcess|WSGIProcessGroup|WSGIScriptAlias(?:Match)?|WSGIImportScript)"
    r"[ \t]+(.*)$",
    re.M | re.I,
)
_INCLUDE = re.compile(r"^[ \t]*Include(?:Optional)?[ \t]+(.*)$", re.M | re.I)
EMBEDDED = "mod_wsgi without WSGIDaemonProcess"


@dataclass(frozen=True)
class Daemon:
    """A group of daemon processes: its name, empty for Apache's own processes, and its set-up."""

    name: str
    server: Server


def scripts(text: str) -> list[str]:
    """Return the paths of the WSGI scripts that a configuration refers to."""
    found = []
    for kind, words in _directives(text):
        if kind.startswith("wsgiscriptalias") and len(words) > 1:
            found.append(words[1])
        elif kind == "wsgiimportscript" and words:
            found.append(words[0])
    return list(dict.fromkeys(found))


def includes(text: str) -> list[str]:
    """Return the patterns of the files that a configuration includes."""
    return [word.strip().strip('"') for word in _INCLUDE.findall(text)]


def loads(path: str, script: str, ini: str) -> bool:
    """Whether the script at `path` has the path of an ini file, or its name where it is beside."""
    if ini in script:
        return True
    beside = os.path.dirname(path) == os.path.dirname(ini)
    return beside and bool(re.search(rf"""["']/?{re.escape(os.path.basename(ini))}\b""", script))


def daemons(texts: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Daemon]:
    """Yield the daemon processes that run one of the scripts `wanted`.

    `texts` are those of the configuration files by path.
    """
    defined = {
        words[0]: (path, dict(word.split("=", 1) for word in words[1:] if "=" in word))
        for path, text in texts.items()
        for kind, words in _directives(text)
        if kind == "wsgidaemonprocess" and words
    }
    seen = set()
    for path, text in texts.items():
        group = ""
        chosen = [words[0] for kind, words in _directives(text) if kind == "wsgiprocessgroup"]
        for kind, words in _directives(text):
            if kind.startswith("wsgiscriptalias") and len(words) > 1 and words[1] in wanted:
                own = dict(word.split("=", 1) for word in words[2:] if "=" in word)
                group = own.get("process-group", chosen[0] if chosen else "")
                if group not in seen:
                    seen.add(group)
                    place, options = defined.get(group, (path, {}))
                    yield Daemon(group, _server(group in defined, options, place))


def _server(daemon: bool, options: Mapping[str, str], path: str) -> Server:
    if daemon:
        return mod_wsgi(options, f"WSGIDaemonProcess of {path}")
    return Server("mod_wsgi", EMBEDDED, path, body_bytes=None, request_seconds=None)


def _directives(text: str) -> Iterator[tuple[str, list[str]]]:
    for kind, rest in _DIRECTIVE.findall(text.replace("\\\n", " ")):
        try:
            yield kind.lower(), shlex.split(rest)
        except ValueError:
            yield kind.lower(), rest.split()
