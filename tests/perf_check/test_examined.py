"""No check calls ok what was not examined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined, Outcome
from kallithea_tune.perf_check.model import Check, Finding, Severity, all_checks
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.survey import FailedRepository, Survey, survey

CHECKS = {item.id: item for item in all_checks()}
OF_REPOSITORIES = [
    name for name, item in CHECKS.items() if survey in item.measurements and "app" not in item.needs
]


@dataclass(frozen=True)
class Nothing:
    examined: Examined = Examined(0, 3, "repository")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    ini = tmp_path / "my.ini"
    ini.write_text("[app:main]\nuse = egg:kallithea\nsqlalchemy.url = sqlite:///%(here)s/k.db\n")
    return Context(load(str(ini)), Deadline(9))


@pytest.mark.parametrize("item", CHECKS.values(), ids=list(CHECKS))
def test_any_check_is_unknown_where_one_of_its_measurements_saw_nothing(
    context: Context, item: Check
) -> None:
    well = replace(item, judge=lambda *measured: [Finding(Severity.ok, "well")])
    for blind in item.measures:
        for one in item.measures:
            examined = Examined(0, 3, "thing") if one is blind else Examined(3, 3, "thing")
            context.outcomes[one] = Outcome(Nothing(examined))
        (found,) = well.findings(context)
        assert found.severity is Severity.unknown
        assert found.diagnosis == "not measured: none of 3 things was examined"


@pytest.mark.parametrize("name", OF_REPOSITORIES)
@pytest.mark.parametrize("all_found", [True, False])
def test_repositories_that_there_was_no_time_for_are_not_ok(
    context: Context, name: str, all_found: bool
) -> None:
    counts = (2, 2) if all_found else (0, 0)
    nothing = Survey("/nowhere", *counts, registered=4, all_found=all_found)
    context.outcomes[survey] = Outcome(nothing)
    try:
        found = [finding.severity for finding in CHECKS[name].findings(context)]
    except Exception:
        # It says why it measured nothing; that is unknown, too.
        return
    assert Severity.ok not in found and Severity.unknown in found


@pytest.mark.parametrize("name", [name for name in OF_REPOSITORIES if name[:2] in ("GI", "HG")])
def test_repositories_of_the_other_kind_do_not_count(context: Context, name: str) -> None:
    """Of two repositories of the kind none was examined, but the one of the other kind was."""
    git = name.startswith("GIT")
    other = FailedRepository("other", Kind.hg if git else Kind.git, "it is broken")
    counts = (2, 1) if git else (1, 2)
    context.outcomes[survey] = Outcome(Survey("/nowhere", *counts, registered=3, broken=(other,)))
    assert Severity.ok not in [item.severity for item in CHECKS[name].findings(context)]
