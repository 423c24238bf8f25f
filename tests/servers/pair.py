"""Two running instances that differ in a setting, as users of both see them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any, Iterator

from servers.application import Kallithea
from servers.visitor import Visitor


@contextlib.contextmanager
def served(ini: Any) -> Iterator[Kallithea]:
    """Serve an ini file inside."""
    server = Kallithea(ini)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def database_of(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the SQLite database in the directory of an instance; what is written inside stays."""
    with contextlib.closing(sqlite3.connect(str(directory / "kallithea.db"))) as connection:
        yield connection
        connection.commit()


@contextlib.contextmanager
def copied(pristine: Path, place: Path, **settings: str) -> Iterator[Kallithea]:
    """Serve a copy that has repositories of its own inside."""
    directory = place / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    with database_of(directory) as database:
        database.execute(
            "UPDATE ui SET ui_value = ? WHERE ui_section = 'paths'", [str(directory / "repos")]
        )
    set_in(directory / "my.ini", **settings)
    with served(directory / "my.ini") as server:
        yield server


@contextlib.contextmanager
def second(first: Kallithea, **settings: str) -> Iterator[Kallithea]:
    """Serve a second instance, as the first but for some settings; ``__`` stands for a dot."""
    ini = first.ini.with_name("second.ini")
    ini.write_text(first.ini.read_text())
    set_in(ini, **settings)
    with served(ini) as server:
        yield server


def set_in(ini: Any, **settings: str) -> None:
    """Set options of the application; ``__`` stands for a dot."""
    given = {name.replace("__", "."): value for name, value in settings.items()}
    kept = [
        line
        for line in ini.read_text().splitlines(keepends=True)
        if line.split(" = ")[0] not in given
    ]
    lines = "".join(f"{name} = {value}\n" for name, value in given.items())
    ini.write_text("".join(kept).replace("[app:main]\n", "[app:main]\n" + lines))


def url(server: Kallithea) -> str:
    """Return where it answers."""
    return f"http://{server.address}:{server.port}"


def logged_in(visitor: Visitor, server: Kallithea) -> bool:
    """Open the front page of an instance, and say whether the visitor is logged in there."""
    visitor.url = url(server)
    return "/_admin/logout" in visitor.get("/")


def seen(first: Kallithea, other: Kallithea) -> str:
    """Log in at the first, visit both in turn, and say where one is logged in: ``AbAb``."""
    visitor = Visitor(url(first))
    visitor.log_in()
    turns = [(other, "B"), (first, "A"), (other, "B"), (first, "A")]
    return "".join(
        letter if logged_in(visitor, server) else letter.lower() for server, letter in turns
    )


def api(server: Kallithea, method: str, **arguments: object) -> Any:
    """Call a method of Kallithea's API as its admin; return the result."""
    with database_of(server.ini.parent) as database:
        ((key,),) = database.execute("SELECT api_key FROM users WHERE username = 'admin'")
    request = {"id": 1, "api_key": key, "method": method, "args": arguments}
    data = json.dumps(request).encode()
    posted = urllib.request.Request(
        url(server) + "/_admin/api", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(posted, timeout=60) as answer:
        document = json.loads(answer.read())
    assert document["error"] is None, document
    return document["result"]
