"""What several instances must have in common, and what users see where they have not."""

from __future__ import annotations

import collections
from dataclasses import dataclass, replace
from typing import Iterator, Sequence

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.results import Matrix, Row, Rule
from kallithea_tune.perf_check.scaling.instances import Facts, Value

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Requirement:
    """The rule of a setting, the check that judges it, and what users see where it is broken."""

    setting: str
    check: str
    seen: str
    severity: Severity = Severity.error
    rule: Rule = Rule.must_be_equal


_OUT = "users are logged out everywhere, and a form sent to the other instance is refused (403)"
_TURNS = "users are logged in at one instance and not at the other, page by page"
_REFUSED = "nobody can log in at the other instance: browsers do not keep its cookie (403)"
_WAITS = "tasks of one are never carried out by the workers of the other"
_HELD = "each has its own locks, so two may do the same work at once"

# Each was broken on two running instances of Kallithea 0.7.0, but for what the pages of the checks
# name as read in its source.
REQUIREMENTS = (
    Requirement(
        "sqlalchemy.url",
        "SCA001",
        "each has its own users and permissions, and a session of one may be another user's there",
    ),
    Requirement("repositories", "SCA001", "what is pushed to one is not seen at the other"),
    Requirement("session.secret", "SCA002", _OUT),
    Requirement("session.validate_key", "SCA002", _OUT),
    Requirement("session.encrypt_key", "SCA002", _OUT),
    Requirement("session.type", "SCA002", _TURNS),
    Requirement("session.data_dir", "SCA002", _TURNS),
    Requirement("session.url", "SCA002", _TURNS),
    Requirement("session.key", "SCA002", _TURNS),
    Requirement("session.cookie_domain", "SCA002", _REFUSED),
    Requirement("session.cookie_path", "SCA002", _REFUSED),
    Requirement("cache_dir", "SCA003", _HELD, Severity.warning),
    Requirement(
        "index_dir",
        "SCA003",
        "a search finds nothing at the instance whose index has not been created",
        Severity.warning,
    ),
    Requirement(
        "cache.data_dir",
        "SCA003",
        "each renders and keeps the same pages; nothing old is shown",
        Severity.advice,
    ),
    Requirement("beaker.cache.lock_dir", "SCA003", _HELD, Severity.warning),
    Requirement("archive_cache_dir", "SCA003", "each builds every archive again", Severity.advice),
    Requirement(
        "use_celery", "SCA004", "one carries out its tasks in the requests", Severity.warning
    ),
    Requirement("celery.broker_url", "SCA004", _WAITS),
    Requirement("celery.task_default_queue", "SCA004", _WAITS),
    Requirement(
        "app_instance_uuid",
        "SCA005",
        "a password can be reset only at the instance that sent the mail",
        Severity.warning,
    ),
    Requirement(
        "ssh_authorized_keys",
        "SCA006",
        "a key that is added at one is not in the other's file",
        Severity.warning,
    ),
    Requirement(
        "kallithea_cli_path",
        "SCA006",
        "a change of any key writes the program and the ini file of one instance into all lines",
        Severity.warning,
    ),
    Requirement(
        "git_hook_interpreter",
        "SCA006",
        "the hooks of a repository start the Python of the instance that created it",
        Severity.warning,
    ),
    Requirement(
        "address",
        "SCA007",
        "on one machine, the second does not start",
        Severity.warning,
        Rule.must_differ,
    ),
    Requirement(
        "versions",
        "SCA012",
        "the older one may not read what the newer one writes",
        Severity.warning,
    ),
    Requirement(
        "index-create",
        "SCA013",
        "two may write one index at once, and delete each other's files",
        Severity.warning,
        Rule.one,
    ),
    Requirement(
        "host",
        "SCA015",
        "Mercurial takes a lock of the other machine for one of its own, and may break it",
        Severity.error,
        Rule.must_differ,
    ),
)


_UNSET = Value("", "", {})


@dataclass(frozen=True)
class Break:
    """A requirement that one instance does not meet, and what the `reference` has instead."""

    requirement: Requirement
    own: Value
    reference: Value
    other: str


def identity(values: Sequence[Value], names: Sequence[str]) -> tuple[Value, str]:
    """Return the value that most instances have, of two the first one's, and who has it first."""
    counted = collections.Counter(value.identity for value in values if not value.failure)
    most = max(counted.values(), default=0)
    for value, name in zip(values, names):
        if not value.failure and counted[value.identity] == most:
            return value, name
    return values[0], names[0]


def breaks(facts: Sequence[Facts], uri: str) -> list[Break]:
    """Return the requirements that the instance of `uri` breaks; see `all_breaks`."""
    found = zip(facts, all_breaks(facts))
    return next((broken for item, broken in found if item.uri == uri), [])


def all_breaks(facts: Sequence[Facts]) -> list[list[Break]]:
    """Return the requirements that each of the instances breaks.

    What must be equal is compared with what most have, so that it is broken by the others; of two
    instances, by the second. What must differ, or be at one only, is broken by all but the first
    that has it.
    """
    names = [item.name for item in facts]
    found: list[list[Break]] = [[] for _ in facts]
    for requirement in _known(facts):
        values = [item.values[requirement.setting] for item in facts]
        equal = requirement.rule is Rule.must_be_equal
        for number, (reference, other) in (_unequal if equal else _repeated)(values, names):
            found[number].append(Break(requirement, values[number], reference, other))
    return found


def _known(facts: Sequence[Facts]) -> list[Requirement]:
    """Return the requirements of what was looked at: none where one instance stands alone."""
    return [
        item
        for item in REQUIREMENTS
        if facts and all(item.setting in fact.values for fact in facts)
    ]


def _unequal(
    values: Sequence[Value], names: Sequence[str]
) -> Iterator[tuple[int, tuple[Value, str]]]:
    """Yield the numbers of the values that are not what most have, and that with its name."""
    reference, other = identity(values, names)
    for number, value in enumerate(values):
        if not (value.failure or reference.failure) and value.identity != reference.identity:
            yield number, (reference, other)


def _repeated(
    values: Sequence[Value], names: Sequence[str]
) -> Iterator[tuple[int, tuple[Value, str]]]:
    """Yield the numbers of the values that an earlier one has, too, and that with its name."""
    first: dict[str, int] = {}
    for number, value in enumerate(values):
        earlier = first.setdefault(value.identity, number)
        if earlier < number and value.identity and not value.failure:
            yield number, (values[earlier], names[earlier])


def matrix(*looks: Sequence[Facts]) -> Matrix:
    """Return all settings that have a rule, and the others that differ: the worst first.

    Each of `looks` has facts of the same instances, in the same order.
    """
    facts = [
        replace(
            one[0],
            values={name: value for item in one for name, value in item.values.items()},
            more={name: value for item in one for name, value in item.more.items()},
        )
        for one in zip(*looks)
    ]
    rows = []
    broken = {
        item.requirement.setting: item.requirement.severity
        for found in all_breaks(facts)
        for item in found
    }
    for requirement in _known(facts):
        name = requirement.setting
        values = [item.values[name] for item in facts]
        severity = broken.get(name, Severity.ok)
        if any(value.failure for value in values) and severity is Severity.ok:
            severity = Severity.unknown
        rows.append(Row(name, _shown(values), requirement.rule, severity, requirement.check))
    known = {requirement.setting for requirement in REQUIREMENTS}
    for name in dict.fromkeys(name for item in facts for name in item.more):
        values = [item.more.get(name, _UNSET) for item in facts]
        if name not in known and len({value.identity for value in values}) > 1:
            rows.append(Row(name, _shown(values), Rule.free))
    rows.sort(key=lambda row: (-row.severity, row.equal, row.rule is Rule.free))
    return Matrix(tuple(item.name for item in facts), tuple(rows))


def _shown(values: Sequence[Value]) -> tuple[str, ...]:
    """Return the values as they are shown; a secret as a letter, the same for the same secret."""
    seen = list(dict.fromkeys(value.identity for value in values))
    return tuple(
        "not measured"
        if value.failure
        else (value.shown and _with_note(value))
        or ("" if value.identity in ("", "unset") else _letter(seen, value))
        for value in values
    )


def _with_note(value: Value) -> str:
    """Say of another path to the same storage how that is known."""
    return f"{value.shown} ({value.note})" if value.note else value.shown


def _letter(seen: Sequence[str], value: Value) -> str:
    return LETTERS[seen.index(value.identity) % len(LETTERS)]
