"""Random dirt arrives as it was, or is named before anything is written; with fixes chosen at
random the target has what these make of it, and the quarantine has the rest.

For other seeds than the usual ones: RANDOM_DIRT=1000-1200 python -m pytest ...
"""

from __future__ import annotations

import itertools
import math
import os
import random
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

import plainly
import pytest
import random_dirt
from kallithea_tables import models
from plants import DIRECTIONS, Source

from kallithea_tune.config import instance as instances
from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import Migration
from kallithea_tune.db_migrate.options import Options
from kallithea_tune.db_migrate.preflight.rules import RULES
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.db_migrate.values import Value
from kallithea_tune.errors import Refused


def seeds() -> range:
    first, _, last = os.environ.get("RANDOM_DIRT", f"0-{len(DIRECTIONS) - 1}").partition("-")
    return range(int(first), int(last or first) + 1)


@pytest.fixture(scope="module")
def sources(
    postgresql: Any, mariadb: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Source]]:
    urls = {
        "sqlite": "sqlite:///{}".format(tmp_path_factory.mktemp("dirty") / "kallithea.db"),
        "postgresql": postgresql.url("random_dirt"),
        "mysql": mariadb.url("random_dirt"),
    }
    made = {dialect: Source(url, dialect) for dialect, url in urls.items()}
    yield made
    for source in made.values():
        source.close()


@pytest.fixture
def empty_target(postgresql: Any, mariadb: Any, tmp_path: Path) -> Callable[[str], str]:
    def url(dialect: str) -> str:
        if dialect == "sqlite":
            return "sqlite:///{}".format(tmp_path / "moved.db")
        return str({"postgresql": postgresql, "mysql": mariadb}[dialect].url("from_random_dirt"))

    return url


def direction_of(seed: int) -> tuple[str, str]:
    return DIRECTIONS[seed % len(DIRECTIONS)]


@pytest.mark.parametrize("seed", seeds())
def test_dirt_is_carried_or_named(
    pristine: Path,
    sources: Mapping[str, Source],
    empty_target: Callable[[str], str],
    tmp_path: Path,
    seed: int,
) -> None:
    print(f"RANDOM_DIRT={seed} repeats this")
    rng = random.Random(seed)
    source, target = sources[direction_of(seed)[0]], direction_of(seed)[1]
    random_dirt.pollute(source, rng)
    before = plainly.contents(source.url)
    url, kept = empty_target(target), tmp_path / "kept.jsonl"
    described = instances.load(str(pristine / "my.ini")).with_settings(
        {"sqlalchemy.url": source.url.replace("%", "%%")}
    )
    named, blocked = named_rows(described, url, Options())
    options = Options(fixes=some_fixes(rng) if blocked else (), quarantine=str(kept))
    more_named, blocked = named_rows(described, url, options)
    with Migration(described, url, options) as migration:
        if blocked:
            with pytest.raises(Refused):
                migration.run()
            assert migration.target.tables == [] and not kept.exists()
            # Every problem has a fix, or is one that another fix has made.
            assert blocked <= unfixable(migration.preflight), blocked
            return
        migration.check()
        migration.run()
    with Migration(described, url, options) as migration:
        assert migration.verify().differences == []
    assert plainly.same(plainly.contents(source.url), before)
    quarantined = {(entry["table"], entry["key"]): entry for entry in plainly.quarantined(kept)}
    assert set(quarantined) <= named | more_named
    require_expected(before, plainly.contents(url), quarantined)


Rows = set  # of table and key


def named_rows(described: Any, url: str, options: Options) -> tuple[Rows, Rows]:
    """The rows that a dry run names, and those that no fix covers."""
    with Migration(described, url, options) as migration:
        result = migration.dry_run().preflight
        assert migration.target.tables == []
    for violation in result.violations:
        assert violation.count <= len(violation.keys) or violation.count > 20, violation
    return (
        {(item.table, key) for item in result.violations for key in item.keys},
        {(item.rule.name, item.table, item.columns) for item in result.blocking},
    )


def unfixable(result: PreflightResult) -> Rows:
    return {
        (item.rule.name, item.table, item.columns)
        for item in result.blocking
        if not item.actions or item.what == "violated after another fix"
    }


def some_fixes(rng: random.Random) -> list[str]:
    """All actions of all rules, in random order: the first that is possible is taken."""
    every = [f"{rule.name}={action.name}" for rule in RULES.values() for action in rule.actions]
    return rng.sample(every, len(every))


def require_expected(
    before: plainly.Contents, after: plainly.Contents, quarantined: Mapping[Any, Any]
) -> None:
    """Each row is as it was, or as its fixes leave it; the quarantine has what it was."""
    for table in models().sorted_tables:
        expected = dict(before[table.name])
        for key, row in before[table.name].items():
            entry = quarantined.get((table.name, key))
            if entry:
                original = {
                    name: plainly.plain(value, table.columns[name].type)
                    for name, value in entry["row"].items()
                }
                assert plainly.same(original, row), (table.name, key, original, row)
                if entry["became"] == "left out":
                    del expected[key]
                elif key in after[table.name]:
                    expected[key] = as_fixed(table, row, after[table.name][key], entry["fixes"])
        assert set(after[table.name]) == set(expected), table.name
        for key, row in expected.items():
            for name, value in row.items():
                found = after[table.name][key][name]
                assert plainly.same(found, value), (table.name, key, name, value, found)


def as_fixed(table: Any, row: Any, after: Any, fixes: Any) -> dict[str, Value]:
    """The row that the fixes must have made; where several values are possible, what is there."""
    fixed = dict(row)
    for name, value in row.items():
        if not plainly.same(value, after[name]):
            possible = list(results(table.columns[name], value, fixes))
            assert any(plainly.same(item, after[name]) for item in possible), (
                table.name,
                name,
                value,
                after[name],
                fixes,
            )
            fixed[name] = after[name]
    return fixed


def results(column: Any, value: Value, fixes: Any) -> Iterator[Value]:
    """What each selection of the fixes, in their order, makes of a value."""
    for count in range(1, len(fixes) + 1):
        for selected in itertools.combinations(fixes, count):
            became: Optional[Value] = value
            for fix in selected:
                became = MAKES[fix](became, column)
            yield became


EMPTY = {
    Kind.integer: 0,
    Kind.boolean: 0,
    Kind.number: 0.0,
    Kind.text: "",
    Kind.binary: b"",
    Kind.moment: "1970-01-01 00:00:00.000000",
}
TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def truncated(value: Any, column: Any) -> Value:
    return text_of(value)[: column.type.length]


def converted(value: Any, column: Any) -> Any:
    kind = kind_of(column)
    if kind is Kind.boolean and text_of(value).lower() in TRUE + FALSE:
        return int(value.lower() in TRUE)
    if kind is Kind.text:
        return value.decode() if isinstance(value, bytes) else str(value)
    if kind is Kind.binary:
        return str(value).encode()
    number = float(value)
    assert math.isfinite(number)
    return number if kind is Kind.number else int(number)


def read(value: Any, _column: Any) -> Value:
    date, _, time = text_of(value).replace("T", " ").partition(" ")
    time, _, fraction = time.partition(".")
    time = time + ":00" * (2 - time.count(":")) if time else "00:00:00"
    return f"{date} {time}.{fraction:0<6}"


MAKES: Mapping[str, Callable[[Any, Any], Value]] = {
    "nulls=empty": lambda value, column: EMPTY[kind_of(column)],
    "wrong-type=convert": lambda value, column: converted(value, column),
    "booleans=true": lambda value, column: 1,
    "dates=epoch": lambda value, column: EMPTY[Kind.moment],
    "dates=read": read,
    "utf8=replace": lambda value, column: (
        text_of(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    ),
    "nul=strip": lambda value, column: text_of(value).replace("\0", ""),
    "four-byte=replace": lambda value, column: "".join(
        "\ufffd" if len(character.encode("utf-8", "surrogateescape")) == 4 else character
        for character in text_of(value)
    ),
    "too-long=truncate": truncated,
    **{f"{name}=null": lambda value, column: None for name in RULES},
}
