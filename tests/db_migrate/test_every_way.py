"""Every rule, every action and every direction: what is planted is reported, its fixes are offered,
and each of them ends in a target that verifies.

`matrix` writes which of them there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence

import plainly
import plants
import pytest
from kallithea_tables import models
from plants import DIRECTIONS, GONE, NEXT, PLANTS, REMEMBERED, Plant, Source
from servers.mariadb import MariaDB

from kallithea_tune.config import instance as instances
from kallithea_tune.config.instance import Instance
from kallithea_tune.db_migrate import Migration
from kallithea_tune.db_migrate.options import Options
from kallithea_tune.db_migrate.preflight.conditions import Scope, conditions
from kallithea_tune.db_migrate.preflight.rules import COLLISIONS, DUPLICATES, RULES
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.errors import Refused

pytestmark = pytest.mark.once


ROUNDS = range(max(len(rule.actions) for rule in RULES.values()))
# With the changes arriving later; together these have every rule.
CAUGHT_UP = [("sqlite", "postgresql"), ("sqlite", "mysql"), ("mysql", "sqlite")]
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}

LAST_KEYS = {"sqlite": 2**63 - 1, "postgresql": 2**31 - 1, "mysql": 2**31 - 1}


class Small(MariaDB):
    """A server with three bytes to a character, small packets, and a collation that folds."""

    def command(self) -> list[str]:
        options = [*super().command(), f"--max-allowed-packet={plants.PACKET}"]
        return [*options, "--character-set-server=utf8mb3"]

    def url(self, database: str) -> str:
        """Create an empty database with its character set."""
        url = super().url(database)
        connection = self.connect()
        connection.cursor().execute(
            f"ALTER DATABASE `{database}` CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci"
        )
        connection.close()
        return url


@pytest.fixture(scope="module")
def sources(
    postgresql: Any, mariadb: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Source]]:
    urls = {
        "sqlite": "sqlite:///{}".format(tmp_path_factory.mktemp("planted") / "kallithea.db"),
        "postgresql": postgresql.url("planted"),
        "mysql": mariadb.url("planted"),
    }
    made = {dialect: Source(url, dialect) for dialect, url in urls.items()}
    for source in made.values():
        source.fill()
    yield made
    for source in made.values():
        source.close()


@pytest.fixture(scope="module")
def small() -> Iterator[Any]:
    server = Small()
    try:
        server.start()
        yield server
    finally:
        server.remove()


Opened = Callable[..., Migration]


@pytest.fixture
def empty_target(postgresql: Any, small: Any, tmp_path: Path) -> Callable[[str], str]:
    """The URL of an empty database of an engine."""

    def url(dialect: str) -> str:
        if dialect == "sqlite":
            made = tmp_path / "moved.db"
            if made.exists():
                made.unlink()
            return f"sqlite:///{made}"
        server = {"postgresql": postgresql, "mysql": small}[dialect]
        return str(server.url("moved_every_way"))

    return url


@pytest.fixture(scope="module")
def described(pristine: Path, sources: dict[str, Source]) -> dict[str, Instance]:
    base = instances.load(str(pristine / "my.ini"))
    return {
        name: base.with_settings({"sqlalchemy.url": source.url.replace("%", "%%")})
        for name, source in sources.items()
    }


def chosen(number: int) -> list[str]:
    """One action of each rule, another one in each round."""
    return [
        f"{rule.name}={rule.actions[number % len(rule.actions)].name}" for rule in RULES.values()
    ]


def with_others(number: int) -> list[str]:
    """The same, with the other actions for where that one is impossible."""
    others = [
        f"{rule.name}={action.name}" for rule in RULES.values() for action in rule.actions[::-1]
    ]
    return [*chosen(number), *others]


def fix_of(plant: Plant, target: str, number: int) -> Optional[tuple[str, str]]:
    """The rule and the action that apply to a plant; None where the target takes it."""
    broken = plant.broken(target)
    for option in with_others(number) if broken else ():
        rule, _, action = option.partition("=")
        if rule == broken[0] and plant.after.get(action, NEXT) != NEXT:
            return rule, action
    return None


def expected_findings(source: str, target: str) -> dict[Any, Any]:
    expected = {}
    for plant, key, _ in plants.rows(source):
        for rule in plant.broken(target):
            columns = plant.columns if rule == plant.rule else (plant.column,)
            expected[rule, plant.table, columns, key] = [
                action.name for action in RULES[rule].actions if helps(action.name, plant, source)
            ]
    for table, last in REMEMBERED.items():
        if last >= LAST_KEYS[target]:
            expected["sequences", table, (plants.key_name(table),), None] = ["restart"]
    return expected


def helps(action: str, plant: Plant, source: str) -> bool:
    """Whether an action is offered: it can fix a value of the column at least."""
    return action in plant.after and any(
        other.after.get(action, NEXT) != NEXT
        for other in PLANTS
        if source in other.sources
        and (other.rule, other.table, other.columns) == (plant.rule, plant.table, plant.columns)
    )


def findings(result: PreflightResult, blocking: bool = False) -> dict[Any, Any]:
    found = result.blocking if blocking else result.violations
    return {
        (item.rule.name, item.table, item.columns, key): [action.name for action in item.actions]
        for item in found
        for key in item.keys or [None]
    }


def is_next(found: Any, action: str) -> bool:
    """Whether a plant needs another action."""
    return any(
        plant.after.get(action) == NEXT
        for plant in PLANTS
        if (plant.rule, plant.table, plant.columns) == found[:3]
    )


def expected_contents(source: Source, target: str, number: int) -> plainly.Contents:
    """Every row of the target after the fixes of a round."""
    expected: plainly.Contents = {table.name: {} for table in source.tables}
    for name, row in source.base():
        expected[name][row[plants.key_name(name)]] = row
    for plant, key, row in plants.rows(source.dialect):
        fix = fix_of(plant, target, number)
        became = plant.after[fix[1]] if fix else plant.value
        if became != GONE:
            expected[plant.table][key] = {**row, plant.column: became}
    return expected


def expected_quarantine(source: str, target: str, number: int) -> list[Any]:
    expected = []
    for plant, key, row in plants.rows(source):
        fix = fix_of(plant, target, number)
        if fix:
            became = "left out" if plant.after[fix[1]] == GONE else "changed"
            expected.append((plant.table, key, ["=".join(fix)], became, row))
    return sorted(expected, key=lambda entry: entry[:2])


def in_quarantine(path: Path) -> list[Any]:
    return sorted(
        (
            tuple(entry[name] for name in ("table", "key", "fixes", "became", "row"))
            for entry in plainly.quarantined(path)
        ),
        key=lambda entry: entry[:2],
    )


def require_complete(source: Source, url: str, target: str, number: int, kept: Path) -> None:
    """The target has exactly what it must have, the quarantine the rest."""
    found, expected = plainly.contents(url), expected_contents(source, target, number)
    for name in expected:
        assert repr(sorted(found[name].items())) == repr(
            [
                (key, {**found[name].get(key, {}), **row})
                for key, row in sorted(expected[name].items())
            ]
        ), name
    for name in plants.WITH_GREAT_KEYS:
        remembered = REMEMBERED.get(name, 0)
        keys = [*expected[name], *([remembered] if remembered < LAST_KEYS[target] else [])]
        assert plainly.next_key(url, name) == max(map(int, keys)) + 1, name
    assert repr(in_quarantine(kept)) == repr(expected_quarantine(source.dialect, target, number))


@pytest.mark.parametrize("direction", DIRECTIONS, ids="-".join)
def test_every_violation_is_reported_with_its_fixes(
    sources: dict[str, Source],
    described: dict[str, Instance],
    empty_target: Callable[[str], str],
    direction: tuple[str, str],
) -> None:
    source, target = direction
    with Migration(described[source], empty_target(target)) as migration:
        assert findings(migration.dry_run().preflight) == expected_findings(source, target)


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("direction", DIRECTIONS, ids="-".join)
def test_every_fix_ends_in_a_target_that_verifies(
    sources: dict[str, Source],
    described: dict[str, Instance],
    empty_target: Callable[[str], str],
    tmp_path: Path,
    direction: tuple[str, str],
    number: int,
) -> None:
    source, target = sources[direction[0]], direction[1]
    url, kept = empty_target(target), tmp_path / "kept.jsonl"
    options = Options(fixes=with_others(number), quarantine=str(kept))
    with Migration(described[source.dialect], url, options) as migration:
        migration.check()
        migration.run()
    require_complete(source, url, target, number, kept)
    with Migration(described[source.dialect], url, options) as migration:
        assert migration.verify().differences == []


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("direction", DIRECTIONS, ids="-".join)
def test_what_is_not_offered_is_refused_before_anything_is_written(
    sources: dict[str, Source],
    described: dict[str, Instance],
    empty_target: Callable[[str], str],
    tmp_path: Path,
    direction: tuple[str, str],
    number: int,
) -> None:
    source, target = direction
    url, kept = empty_target(target), tmp_path / "kept.jsonl"
    actions = dict(option.split("=") for option in chosen(number))
    impossible = {
        found: offered
        for found, offered in expected_findings(source, target).items()
        if actions[found[0]] not in offered or is_next(found, actions[found[0]])
    }
    options = Options(fixes=chosen(number), quarantine=str(kept))
    with Migration(described[source], url, options) as migration:
        if impossible:
            with pytest.raises(Refused, match="nothing was changed: preflight found .* no --fix"):
                migration.run()
            assert migration.target.tables == []
        else:
            migration.run_preflight()
        assert findings(migration.preflight, blocking=True) == impossible
    assert not kept.exists()


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("direction", CAUGHT_UP, ids="-".join)
def test_changes_that_arrive_later_are_fixed_alike(
    sources: dict[str, Source],
    described: dict[str, Instance],
    empty_target: Callable[[str], str],
    tmp_path: Path,
    direction: tuple[str, str],
    number: int,
) -> None:
    source, target = sources[direction[0]], direction[1]
    url, kept = empty_target(target), tmp_path / "kept.jsonl"
    options = Options(fixes=with_others(number), quarantine=str(kept))
    source.fill(dirty=False)
    try:
        with Migration(described[source.dialect], url, options) as migration:
            migration.check()
            migration.run()
        assert not kept.exists()
    finally:
        source.fill()
    with Migration(described[source.dialect], url, options) as migration:
        migration.catch_up()
    require_complete(source, url, target, number, kept)
    with Migration(described[source.dialect], url, options) as migration:
        assert migration.verify().differences == []


def offered_by_plants(source: str, target: str) -> set[tuple[str, str]]:
    return {
        (plant.rule, action)
        for plant, _, _ in plants.rows(source)
        if target in plant.targets
        for action in plant.after
    }


@pytest.mark.parametrize("direction", DIRECTIONS, ids="-".join)
def test_there_is_a_plant_for_every_rule_and_action_that_is_possible(
    sources: dict[str, Source],
    described: dict[str, Instance],
    empty_target: Callable[[str], str],
    direction: tuple[str, str],
) -> None:
    """What has no plant has no column in which the code would look for it."""
    source, target = direction
    with Migration(described[source], empty_target(target)) as migration:
        transfer = migration.transfer
        scope = Scope.of(transfer.source, transfer.target, transfer.tables, transfer.copies)
        possible = {
            (condition.rule.name, action.name)
            for name, table in scope.tables.items()
            for condition in conditions(scope, table, scope.limits(name))
            for action in condition.actions
        }
        for rule in (DUPLICATES, COLLISIONS) if scope.column_limits.folds else (DUPLICATES,):
            possible |= {(rule.name, action.name) for action in rule.actions}
    assert offered_by_plants(source, target) == possible


def test_every_rule_is_planted_or_known_to_be_impossible() -> None:
    planted = {plant.rule for plant in PLANTS}
    # The target's columns have all digits, unless somebody else made them.
    assert set(RULES) - planted == {"microseconds"}
    assert {plant.table for plant in PLANTS} <= set(models().tables)


def tried(source: str, target: str) -> set[tuple[str, str]]:
    beyond = any(last >= LAST_KEYS[target] for last in REMEMBERED.values())
    return offered_by_plants(source, target) | ({("sequences", "restart")} if beyond else set())


def matrix() -> str:
    """Write to which targets each fix is possible from each source, as the documentation has it."""
    lines = [["fix", *(f"from {name}" for name in NAMES.values())]]
    for rule in RULES.values():
        for action in rule.actions:
            offered = {
                source: [
                    target for target in NAMES if (rule.name, action.name) in tried(source, target)
                ]
                for source in NAMES
            }
            lines.append([f"{rule.name}={action.name}", *map(listed, offered.values())])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    edge = " ".join("=" * width for width in widths)
    rows = [
        " ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    ]
    return "\n".join([edge, rows[0], edge, *rows[1:], edge])


def listed(targets: Sequence[str]) -> str:
    if len(targets) == len(NAMES):
        return "to all"
    return "to " + ", ".join(NAMES[target] for target in targets) if targets else "--"


def test_the_documentation_has_this_matrix() -> None:
    page = Path(__file__).parents[2] / "docs" / "db-migrate-preflight.rst"
    assert f"\n\n{matrix()}\n\n" in page.read_text()
