"""Several instances in one run: each as alone, and once what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import ConfigError
from kallithea_tune.perf_check import several
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.model import Check, Finding, Severity, check
from kallithea_tune.perf_check.scaling.instances import names


@dataclass(frozen=True)
class Seen:
    """Where something was measured."""

    path: str
    examined: Examined = Examined(1, 1, "toy")


def made(tmp_path: Path, *lines: str) -> list[Instance]:
    paths = [tmp_path / f"{number}.ini" for number in range(len(lines))]
    for path, line in zip(paths, lines):
        path.write_text(f"[app:main]\nuse = egg:nothing\n{line}\n")
    return [load(str(path)) for path in paths]


def measuring(*decided_by: str) -> Check:
    @measurement(decided_by=decided_by)
    def place(context: Context) -> Seen:
        return Seen(context.instance.path)

    @check("TOY001", "toy", "A toy", "toys", measures=(place,))
    def judge(seen: Seen) -> "list[Finding]":
        return [Finding(Severity.ok, Path(seen.path).name)]

    return judge


@pytest.mark.parametrize(
    "decided_by, lines, seen",
    [
        ((), ("a.x = 1", "a.x = 1"), ["0.ini", "1.ini"]),
        (("a.*",), ("a.x = 1", "a.x = 1\nb = 2"), ["0.ini", "0.ini"]),
        (("a.*",), ("a.x = 1", "a.x = 2", "a.x = 2"), ["0.ini", "1.ini", "1.ini"]),
        (("a.*",), ("a.x = 1", "b = 1"), ["0.ini", "1.ini"]),
    ],
)
def test_what_the_same_settings_decide_is_measured_once(
    tmp_path: Path, decided_by: "tuple[str, ...]", lines: "tuple[str, ...]", seen: "list[str]"
) -> None:
    results = several.run(made(tmp_path, *lines), [measuring(*decided_by)], 9)
    assert [item.diagnosis for item in results.findings] == seen
    assert [str(item.place) for item in results.runs] == [f"{n}.ini" for n in range(len(lines))]


def test_the_secrets_of_all_are_masked_in_each(tmp_path: Path) -> None:
    together = several.with_one_redactor(
        made(tmp_path, "session.secret = first-secret", "session.secret = second-secret")
    )
    for instance in together:
        assert instance.redactor.text("first-secret second-secret") == "*** ***"


def test_an_instance_given_twice_is_refused(tmp_path: Path) -> None:
    (instance,) = made(tmp_path, "")
    with pytest.raises(ConfigError, match="given twice"):
        names([instance, instance])


def test_what_is_not_requested_has_no_part_of_the_time(tmp_path: Path) -> None:
    shares = []

    @measurement(1000, decided_by=("a.*",))
    def once(context: Context) -> Seen:
        shares.append(round(context.deadline.left))
        return Seen("")

    @measurement(1000, requested=lambda context: False)
    def each(context: Context) -> Seen:
        raise AssertionError

    checks = [
        check("TOY001", "toy", "A toy", "toys", measures=(once,))(lambda seen: []),
        check("TOY002", "toys", "Toys", "toys", measures=(each,))(lambda seen: []),
    ]
    several.run(made(tmp_path, "a.x = 1", "a.x = 1"), checks, 1000)
    assert shares == [1000]
