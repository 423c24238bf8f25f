"""What becomes of each thing, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from kallithea_tune.app.application import SchemaHistory
from kallithea_tune.db.tables import Described, IndexShape, Reference, Shape
from kallithea_tune.db_migrate.engines.base.catalog import Found, checks_of
from kallithea_tune.db_migrate.extra.obstacles import Obstacle
from kallithea_tune.db_migrate.inventory import fates, revision
from kallithea_tune.db_migrate.inventory.fates import Choices, Models
from kallithea_tune.db_migrate.inventory.items import (
    Fate,
    Item,
    ItemKind,
    not_carried,
    require_accepted,
)
from kallithea_tune.errors import ConfigError, Refused

USERS = Described(
    columns=frozenset(
        [
            Shape("id", "integer", None, False),
            Shape("name", "text", 20, False),
            Shape("active", "integer", None, False),
        ]
    ),
    uniques=frozenset([("name",)]),
    indexes=frozenset([IndexShape("name_idx", ("name",), False)]),
    foreign_keys=frozenset([Reference(("id",), "people")]),
    primary_key=("id",),
)
MODELS = Models({"users": USERS}, ("alembic_version",))
TABLES = [Found(ItemKind.TABLE, "", "users"), Found(ItemKind.TABLE, "", "alembic_version")]
NOTE = [
    Found(ItemKind.TABLE, "", "note"),
    Found(ItemKind.COLUMN, "note", "id"),
    Found(ItemKind.INDEX, "note", "note_idx", ("id",)),
]


def fate_of(found: Any, obstacles: Any = (), **choices: Any) -> Item:
    """What becomes of the first thing, beside the usual tables."""
    things = [*(found if isinstance(found, list) else [found]), *TABLES]
    items = fates.fates(things, MODELS, Choices(**choices), obstacles)
    fates.require_matched(choices.get("leave", ()), items)
    return items[0]


OF_MODELS, CARRIED, LOST, INTERNAL = (
    Fate.FROM_MODELS,
    Fate.CARRIED,
    Fate.NOT_CARRIED,
    Fate.INTERNAL,
)


@pytest.mark.parametrize(
    "found, expected",
    [
        (Found(ItemKind.TABLE, "", "users"), CARRIED),
        (Found(ItemKind.TABLE, "", "alembic_version"), INTERNAL),
        (Found(ItemKind.TABLE, "", "sqlite_stat1", internal=True), INTERNAL),
        (Found(ItemKind.TABLE, "", "note"), LOST),
        (Found(ItemKind.TABLE, "", "fts", special="it is a virtual table"), LOST),
        (Found(ItemKind.COLUMN, "users", "name"), CARRIED),
        (Found(ItemKind.COLUMN, "users", "NAME"), CARRIED),
        (Found(ItemKind.COLUMN, "users", "phone"), CARRIED),
        (Found(ItemKind.COLUMN, "alembic_version", "version_num"), INTERNAL),
        (Found(ItemKind.GENERATED_COLUMN, "users", "twice"), LOST),
        (Found(ItemKind.DEFAULT, "users", "id", text="nextval('s'::regclass)"), OF_MODELS),
        (Found(ItemKind.DEFAULT, "users", "name", text="NULL::character varying"), OF_MODELS),
        (Found(ItemKind.DEFAULT, "users", "name", text="'x'::text"), CARRIED),
        (Found(ItemKind.DEFAULT, "users", "name", text="upper('x')"), CARRIED),
        (Found(ItemKind.INDEX, "users", "name_idx", ("name",)), OF_MODELS),
        (Found(ItemKind.INDEX, "users", "other_name", ("name",)), OF_MODELS),
        (Found(ItemKind.INDEX, "users", "uq_users_name", ("name",), True), OF_MODELS),
        (Found(ItemKind.INDEX, "users", "own", ("active",)), CARRIED),
        (Found(ItemKind.INDEX, "users", "own", ("active",), True), CARRIED),
        (Found(ItemKind.INDEX, "users", "own", ("name",), special="it has a condition"), LOST),
        (Found(ItemKind.INDEX, "users", "fk", ("active",), internal=True), INTERNAL),
        (Found(ItemKind.UNIQUE, "users", "name", ("name",), True), OF_MODELS),
        (Found(ItemKind.UNIQUE, "users", "own", ("active",), True), CARRIED),
        (Found(ItemKind.CHECK, "users", "ck", text="active IN (0, 1)"), OF_MODELS),
        (Found(ItemKind.CHECK, "users", "ck", text="`active` in (0,1)"), OF_MODELS),
        (Found(ItemKind.CHECK, "users", "ck", text="active IN (0, 1, 2)"), CARRIED),
        (Found(ItemKind.CHECK, "users", "ck", text="phone IN (0, 1)"), CARRIED),
        (Found(ItemKind.FOREIGN_KEY, "users", "fk", ("id",), refers_to="people"), OF_MODELS),
        (Found(ItemKind.FOREIGN_KEY, "users", "fk", ("id",), refers_to="users"), CARRIED),
        (Found(ItemKind.SEQUENCE, "users", "users_id_seq"), CARRIED),
        (Found(ItemKind.SEQUENCE, "", "tickets"), LOST),
        (Found(ItemKind.EXTENSION, "", "plpgsql", internal=True), INTERNAL),
        *(
            (Found(kind, table, "thing"), LOST)
            for kind, table in (
                (ItemKind.TRIGGER, "users"),
                (ItemKind.RULE, "users"),
                (ItemKind.POLICY, "users"),
                (ItemKind.EXCLUSION, "users"),
                (ItemKind.VIEW, ""),
                (ItemKind.TYPE, ""),
                (ItemKind.ROUTINE, ""),
                (ItemKind.EVENT, ""),
                (ItemKind.SCHEMA, "other"),
            )
        ),
    ],
)
def test_each_kind_of_thing_has_its_fate(found: Found, expected: Fate) -> None:
    item = fate_of(found)
    assert item.fate is expected
    assert bool(item.reason) == (expected is LOST) and not item.accepted


def test_every_kind_that_is_never_carried_has_a_reason() -> None:
    carried = {ItemKind.TABLE, ItemKind.COLUMN, ItemKind.INDEX, ItemKind.UNIQUE}
    carried |= {ItemKind.FOREIGN_KEY, ItemKind.DEFAULT, ItemKind.EXTENSION}
    carried |= {ItemKind.CHECK, ItemKind.COLLATION}
    assert set(fates.REASONS) == set(ItemKind) - carried


def test_extra_tables_are_carried_with_all_that_belongs_to_them() -> None:
    for index in range(3):
        found = NOTE[index:] + NOTE[:index]
        assert fate_of(found).fate is LOST
        assert fate_of(found, extra_tables=True).fate is CARRIED
    left = fates.fates([*NOTE, *TABLES], MODELS, Choices(True, ["note"]))
    assert [(item.fate, item.accepted) for item in left[:3]] == [(LOST, True)] * 3
    assert [item.label for item in not_carried(left)] == ["table note"]


def test_what_needs_a_column_that_is_left_goes_with_it() -> None:
    phone = [
        Found(ItemKind.INDEX, "users", "phone_idx", ("phone", "name")),
        Found(ItemKind.COLUMN, "users", "phone"),
        Found(ItemKind.DEFAULT, "users", "phone", text="'0'"),
    ]
    assert fate_of(phone).fate is CARRIED
    index, column, default = fates.fates([*phone, *TABLES], MODELS, Choices(leave=["users.phone"]))[
        :3
    ]
    assert {index.fate, column.fate, default.fate} == {LOST}
    assert index.accepted and index.reason == "users.phone is not carried"
    hindered = Obstacle(ItemKind.COLUMN, "users", "phone", "it is an array")
    index = fate_of(phone, [hindered])
    assert index.fate is LOST and not index.accepted


def test_a_reference_needs_its_table() -> None:
    key = Found(ItemKind.FOREIGN_KEY, "users", "fk", ("active",), refers_to="note")
    assert fate_of([key, *NOTE]).fate is LOST
    assert fate_of([key, *NOTE], extra_tables=True).fate is CARRIED


def test_an_obstacle_is_named_even_where_nothing_has_its_name() -> None:
    own = Found(ItemKind.INDEX, "users", "own", ("active",))
    hindered = Obstacle(ItemKind.INDEX, "users", "own", "its key is too long")
    assert fate_of(own, [hindered]).reason == "its key is too long"
    of_models = Obstacle(ItemKind.INDEX, "users", "name_idx", "its key is too long")
    assert (
        fate_of(Found(ItemKind.INDEX, "users", "name_idx", ("name",)), [of_models]).fate
        is OF_MODELS
    )
    of_models = Obstacle(ItemKind.COLUMN, "users", "name", "its key is too long")
    assert fate_of(Found(ItemKind.COLUMN, "users", "name"), [of_models]).fate is CARRIED
    unknown = Obstacle(ItemKind.TABLE, "", "wide", "its rows are too long")
    last = fates.fates(TABLES, MODELS, Choices(), [unknown])[-1]
    assert (last.label, last.fate, last.reason) == ("table wide", LOST, "its rows are too long")


def test_what_only_an_obstacle_names_can_be_left() -> None:
    wide = Obstacle(ItemKind.COLLATION, "users", "phone COLLATE x", "it sorts otherwise")
    choices = Choices(leave=["users.phone COLLATE x"])
    items = fates.fates(TABLES, MODELS, choices, [wide])
    fates.require_matched(choices.leave, items)
    assert items[-1].accepted


@pytest.mark.parametrize("pattern", ["users.audit", "audit", "*", "users.*", "aud?t"])
def test_a_thing_is_left_by_either_name_or_a_pattern(pattern: str) -> None:
    item = fate_of(Found(ItemKind.TRIGGER, "users", "audit"), leave=[pattern])
    assert item.accepted and item.fate is LOST
    require_accepted([item])


def test_a_name_with_wildcards_of_its_own_is_left_by_that_name() -> None:
    check = Found(ItemKind.CHECK, "users", "name <> '[*]'", text="name <> '[*]'")
    assert fate_of(check, leave=["users.name <> '[*]'"]).accepted


@pytest.mark.parametrize("pattern", ["users", "name", "users.name", "AUDIT", "alembic_version", ""])
def test_a_name_that_fits_nothing_to_leave_is_wrong_usage(pattern: str) -> None:
    with pytest.raises(ConfigError, match="--leave: the source has nothing called") as raised:
        fate_of(Found(ItemKind.TRIGGER, "users", "audit"), leave=[pattern])
    assert raised.value.exit_status == 2


def test_a_column_is_left_by_its_full_name_only() -> None:
    phone = Found(ItemKind.COLUMN, "users", "phone")
    assert fate_of(phone, leave=["users.phone"]).accepted
    with pytest.raises(ConfigError):
        fate_of(phone, leave=["phone"])


def test_the_refusal_offers_what_helps() -> None:
    def refusal(found: list[Found]) -> str:
        with pytest.raises(Refused) as raised:
            require_accepted(fates.fates([*found, *TABLES], MODELS, Choices()))
        return str(raised.value)

    assert "an object that the target would lack (table note); --extra-tables" in refusal(NOTE)
    view = Found(ItemKind.VIEW, "", "names")
    assert "2 objects that the target would lack (table note, view names); --dry-run" in refusal(
        [*NOTE, view]
    )
    views = [Found(ItemKind.VIEW, "", f"view{number}") for number in range(10)]
    assert "view view7, and 2 more)" in refusal(views)


def test_what_the_models_have_and_the_source_lacks_is_refused() -> None:
    columns = [Found(ItemKind.COLUMN, "users", name) for name in ("id", "Name", "active")]
    fates.require_present([*TABLES, *columns], MODELS, True)
    for found, folds, message in (
        ([*TABLES, *columns], False, "lacks what Kallithea's models have: users.name;"),
        ([*TABLES, *columns[1:]], True, "models have: users.id;"),
        (columns, True, "models have: users;"),
        ([Found(ItemKind.VIEW, "", "users"), *columns], True, "because it is a view"),
        (
            [Found(ItemKind.TABLE, "", "users", special="it is a foreign table"), *columns],
            True,
            "because it is a foreign table",
        ),
    ):
        with pytest.raises(Refused, match=message):
            fates.require_present(found, MODELS, folds)


HISTORY = SchemaHistory(("c",), frozenset("abc"))


@pytest.mark.parametrize(
    "stamped, message",
    [
        ((), "no revision in alembic_version"),
        (("b",), "requires c; upgrade the database first"),
        (("z",), "does not know, so a newer version"),
        (("b", "c"), "has 2 rows .b, c. instead of 1"),
        (("c", "c"), "has 2 rows .c, c. instead of 1"),
    ],
)
def test_each_wrong_revision_has_its_own_advice(stamped: Any, message: str) -> None:
    with pytest.raises(Refused, match=message):
        revision.require_newest(stamped, HISTORY)


def test_the_newest_revision_is_accepted_and_any_without_scripts() -> None:
    revision.require_newest(("c",), HISTORY)
    revision.require_newest((), SchemaHistory((), frozenset()))


def test_checks_are_found_wherever_they_are_in_a_statement() -> None:
    statement = """CREATE TABLE t ( -- CHECK (not this)
        a TEXT CHECK (length(a) < 50), "CHECK (nor" INTEGER, b TEXT DEFAULT 'CHECK (x)',
        CONSTRAINT "both of" CHECK (a <> ')' AND (b IS NULL OR b IN ('(', 'x'))))"""
    assert checks_of(statement) == [
        ("", "length(a) < 50"),
        ("both of", "a <> ')' AND (b IS NULL OR b IN ('(', 'x'))"),
    ]
