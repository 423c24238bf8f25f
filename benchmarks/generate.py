"""Makes a SQLite database as a large Kallithea leaves it: many log rows, comments with awkward
text, statistics blobs.

usage: generate.py FILE [LOG_ROWS [COMMENTS]]

Without the numbers 1,000,000 log rows and 100,000 comments. The tables are made by Kallithea's own
metadata, so run it with the Python of the virtual environment that holds Kallithea. The same
numbers give the same rows.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import random
import sqlite3
import sys
from typing import Any, Iterable, Iterator, Sequence

USERS, REPOSITORIES, GROUPS = 200, 300, 20
START = datetime.datetime(2019, 3, 31, 1, 59, 59, 999999)
NAMES = ("Anna", "Łukasz", "José", "Zoë", "Владимир", "麗", "O'Neil", "Jürgen", "Åse", "Noël")
WORDS = (
    "fix",
    "the",
    "parser",
    "naïve",
    "Größe",
    "見積",
    "файл",
    "C:\\new\\table",
    "\\N",
    "\\.",
    "a\tb",
    '"quoted"',
    "100%",
    "%(x)s",
    "😀",
    "e\u0301",
    "\u2028",
    "<b>",
    "&amp;",
    "'; --",
    "NULL",
    "$1",
    "{0}",
    "ﬁ",
    "\\",
    "  two",
    "it's",
)
SEPARATORS = (" ", " ", " ", "\n", "\r\n", "\n\n", "\t", ", ")


def text(chance: random.Random, words: int) -> str:
    """Return some `words` with everything in between that breaks careless copying."""
    return "".join(chance.choice(WORDS) + chance.choice(SEPARATORS) for _ in range(words))


def moments(chance: random.Random, seconds: int) -> Iterator[str]:
    """Yield ever later times as SQLAlchemy stores them, on average `seconds` apart, every 50th at a
    full second.
    """
    now, number = START, 0
    while True:
        number += 1
        now += datetime.timedelta(
            seconds=chance.randrange(2 * seconds), microseconds=chance.randrange(10**6)
        )
        yield (now.replace(microsecond=0) if number % 50 == 0 else now).strftime(
            "%Y-%m-%d %H:%M:%S.%f"
        )


def users(chance: random.Random) -> Iterator[Sequence[Any]]:
    """Yield the rows of users: the default user, then admins and all the others."""
    when = moments(chance, 40000)
    for number in range(1, USERS + 1):
        data = json.dumps(
            {"auth": {"name": NAMES[number % 10], "groups": ["g%d" % number] * (number % 40)}}
        ).encode()
        yield (
            number,
            "default" if number == 1 else "user%d" % number,
            "$2b$10$" + f"{chance.getrandbits(200):053x}",
            1,
            int(number in (2, 3)),
            NAMES[number % 10],
            NAMES[number // 10 % 10] + " \\",
            None if number % 17 == 0 else "user%d@example.com" % number,
            None if number % 5 == 0 else next(when),
            "internal",
            "user%d" % number,
            f"{chance.getrandbits(160):040x}",
            next(when),
            data if number % 3 else None,
        )


def groups(chance: random.Random) -> Iterator[Sequence[Any]]:
    """Yield the rows of groups: chains of five, some parents having a greater key than their
    children.
    """
    when = moments(chance, 90000)
    for number in range(1, GROUPS + 1):
        parent = None if number % 5 == 0 else number + 1
        yield (
            number,
            "group-%d" % number,
            parent,
            text(chance, 8),
            chance.randint(2, USERS),
            next(when),
        )


def repositories(chance: random.Random) -> Iterator[Sequence[Any]]:
    """Yield the rows of repositories; every tenth is a fork."""
    when = moments(chance, 90000)
    for number in range(1, REPOSITORIES + 1):
        cache = {
            "raw_id": f"{chance.getrandbits(160):040x}",
            "message": text(chance, 30),
            "author": "José <j@x.org>",
        }
        yield (
            number,
            "repo-%d/größe" % number,
            "repo_state_created",
            None,
            "hg" if number % 2 else "git",
            chance.randint(2, USERS),
            number % 7 == 0,
            1,
            1,
            text(chance, 12),
            next(when),
            next(when),
            "rev:tip",
            json.dumps(cache, ensure_ascii=False).encode() if number % 11 else None,
            number - 1 if number % 10 == 0 else None,
            number % GROUPS + 1 if number % 3 == 0 else None,
        )


def logs(chance: random.Random, count: int) -> Iterator[Sequence[Any]]:
    """Yield `count` rows of user_logs, some of users and repositories that are gone."""
    when = moments(chance, 180)
    pushes = [
        "push:" + ",".join(f"{chance.getrandbits(160):040x}" for _ in range(size))
        for size in (1, 1, 2, 5)
    ]
    actions = (
        ["pull"] * 4 + pushes + ["started_following_repo", f"user_commented_revision:{7:040x}"]
    )
    addresses = ["10.0.%d.%d" % (number % 7, number) for number in range(250)] + [
        "2001:db8::1",
        "",
        None,
    ]
    for number in range(1, count + 1):
        user, repository = chance.randint(2, USERS + 4), chance.randint(1, REPOSITORIES + 4)
        yield (
            number,
            user if user <= USERS else None,
            "user%d" % user,
            repository if repository <= REPOSITORIES else None,
            "repo-%d/größe" % repository,
            addresses[number % len(addresses)],
            actions[number % len(actions)],
            next(when),
        )


def comments(chance: random.Random, count: int) -> Iterator[Sequence[Any]]:
    """Yield `count` rows of changeset_comments, half of them to a line of a file."""
    when = moments(chance, 1800)
    for number in range(1, count + 1):
        line, made = number % 2 == 0, next(when)
        yield (
            number,
            number % REPOSITORIES + 1,
            hashlib.sha1(b"%d" % number).hexdigest(),
            None,
            "n%d" % ((number % 900,)) if line else None,
            "src/größe/module_%d.py" % ((number % 50,)) if line else None,
            chance.randint(2, USERS),
            text(chance, chance.choice((3, 10, 10, 60))),
            made,
            made,
        )


def statuses(chance: random.Random, count: int) -> Iterator[Sequence[Any]]:
    """Yield a row of changeset_statuses for every twentieth of `count` comments."""
    when = moments(chance, 36000)
    for number, comment in enumerate(range(20, count + 1, 20), 1):
        yield (
            number,
            comment % REPOSITORIES + 1,
            chance.randint(2, USERS),
            hashlib.sha1(b"%d" % comment).hexdigest(),
            chance.choice(("approved", "rejected", "under_review")),
            comment,
            next(when),
            0,
            None,
        )


def statistics(chance: random.Random) -> Iterator[Sequence[Any]]:
    """Yield a row of statistics for every repository, 5 to 200 KB each but commit_activity_combined
    below 64 KB.
    """
    for number in range(1, REPOSITORIES + 1):
        size = chance.choice((100, 1000, 4000))
        days = [[1300000000 + 86400 * day, chance.randrange(40)] for day in range(size)]
        activity = {
            "José <%d>" % author: {"data": days[: size // 4], "label": "J"} for author in range(4)
        }
        yield (
            number,
            number,
            chance.randrange(10**6),
            json.dumps(activity).encode(),
            json.dumps(days[:2000]).encode(),
            json.dumps({"py": size, "ﬁ": 1}, ensure_ascii=False).encode(),
        )


def gists(chance: random.Random) -> Iterator[Sequence[Any]]:
    """Yield rows of gists: floats in every shape that an expiry time takes."""
    when = moments(chance, 90000)
    for number in range(1, 101):
        expires = (-1.0, 1700000000.0, 1700000000.123456, 0.1 + 0.2, 1e300)[number % 5]
        yield (
            number,
            "gist%d" % number,
            text(chance, 5),
            number % USERS + 1,
            expires,
            "public",
            next(when),
            next(when),
        )


def fill(connection: sqlite3.Connection, log_rows: int, comment_rows: int) -> None:
    """Insert all rows, in an order that satisfies the foreign keys, and Kallithea's revision."""
    chance = random.Random(7)
    tables: Iterable[tuple[str, Iterator[Sequence[Any]]]] = (
        ("users", users(chance)),
        ("groups", groups(chance)),
        ("repositories", repositories(chance)),
        ("user_logs", logs(chance, log_rows)),
        ("changeset_comments", comments(chance, comment_rows)),
        ("changeset_statuses", statuses(chance, comment_rows)),
        ("statistics", statistics(chance)),
        ("gists", gists(chance)),
    )
    for name, rows in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        places = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
    # As if the last rows had been deleted: the greatest key ever used is not the greatest one left.
    connection.execute("UPDATE sqlite_sequence SET seq = seq + 10 WHERE name = 'gists'")
    connection.execute(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    )
    connection.execute("INSERT INTO alembic_version VALUES (?)", [head()])


def head() -> str:
    """Return the newest of Kallithea's database revisions."""
    import kallithea
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option(
        "script_location", os.path.join(os.path.dirname(kallithea.__file__), "alembic")
    )
    return str(ScriptDirectory.from_config(config).get_current_head())


def generate(path: str, log_rows: int = 1000000, comment_rows: int = 100000) -> None:
    """Make the database `path`, which must not exist yet."""
    import sqlalchemy
    from kallithea.model import db, meta

    assert db.User and not os.path.exists(path), f"{path} exists already"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    meta.Base.metadata.create_all(engine)
    engine.dispose()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    with connection:
        fill(connection, log_rows, comment_rows)
    connection.close()


if __name__ == "__main__":
    generate(sys.argv[1], *map(int, sys.argv[2:]))
