"""What is planned for which findings, in tables, and what is said of the outcome."""

from __future__ import annotations

from typing import Optional

import pytest

from kallithea_tune.config.inifile import Edit
from kallithea_tune.perf_check.fix.carry_out import Outcome, Verdict, judged
from kallithea_tune.perf_check.fix.plan import Plan, make, tasks
from kallithea_tune.perf_check.fix.report import nothing_lines, outcome_lines, plan_lines
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import (
    Command,
    Effect,
    IniEdit,
    Option,
    Remedy,
    Statements,
    Steps,
)

INI = "[app:main]\nuse = egg:kallithea\nold = 1\nlevel = 2\n\n[server:main]\nuse = egg:waitress\n"
EDIT = Edit("/srv/my.ini", INI, INI)
LEVEL = IniEdit((Option("app:main", "level", "3"),))
TIDY = IniEdit((Option("app:main", "old"), Option("server:main", "threads", "1")))
MAKE, USE = Command(("mkdir", "/x")), Command(("touch", "/x/y"))
LOSE = Command(("rm", "/x"), effect=Effect.deletes)


def finding(id: str, remedy: Remedy, severity: Severity = Severity.warning) -> Finding:
    return Finding(severity, f"{id} is bad", check=id, remedy=remedy, exact=remedy)


def planned(*remedies: Remedy, all_safe: bool = False) -> Plan:
    found = [finding(f"X{number}", remedy) for number, remedy in enumerate(remedies)]
    return make(tasks(found, all_safe), EDIT)


def test_the_edits_of_several_findings_are_one() -> None:
    plan = planned(LEVEL, TIDY)
    assert plan.edit.before == INI
    assert plan.edit.after == (
        "[app:main]\nuse = egg:kallithea\nlevel = 3\n\n[server:main]\nuse = egg:waitress\n"
        "threads = 1\n"
    )
    assert plan.checks == {"X0", "X1"} and not plan.before and not plan.after


@pytest.mark.parametrize(
    "remedy, reason",
    [
        ("", "the check has no remedy"),
        ("call somebody", "only you can do it"),
        (Statements("ANALYZE", ("psql",)), "run the SQL yourself, with the client shown"),
        (Steps((LEVEL, Statements("A", ("x",)))), "run the SQL yourself, with the client shown"),
        (IniEdit((Option("app:main", "level", "2"),)), "the ini file already has these values"),
        (Command(("serve",), service=True), "a service has to run it"),
        (LEVEL, ""),
        (LOSE, ""),
    ],
)
def test_what_is_left_to_the_admin(remedy: Remedy, reason: str) -> None:
    plan = planned(remedy)
    assert plan.tasks[0].by_hand == reason
    assert bool(plan.carried_out) is not bool(reason)


def test_commands_keep_their_place_before_or_after_the_edit_and_run_once() -> None:
    plan = planned(Steps((MAKE, LEVEL, USE)), Steps((MAKE, TIDY)), USE)
    assert (plan.before, plan.after) == ((MAKE,), (USE,))


def test_remedies_that_contradict_each_other_are_not_mixed() -> None:
    other = IniEdit((Option("app:main", "level", "4"), Option("app:main", "old")))
    plan = planned(LEVEL, other, LEVEL)
    assert [bool(task.by_hand) for task in plan.tasks] == [False, True, False]
    assert "level = 3" in plan.edit.after and "old = 1" in plan.edit.after


def test_all_safe_is_what_can_be_undone() -> None:
    undo = Command(("chmod", "640", "/x"), effect=Effect.reversible)
    lasting = Steps((LEVEL, USE))
    plan = planned(LEVEL, USE, LOSE, undo, lasting, "words", "", all_safe=True)
    assert [task.finding.check for task in plan.tasks] == ["X0", "X3"]


def test_only_what_was_found_and_is_not_accepted_is_fixed() -> None:
    ignored = Finding(Severity.error, "x", ignored="so be it", exact=LEVEL)
    unknown, fine = (finding("X", LEVEL, level) for level in (Severity.unknown, Severity.ok))
    assert tasks([ignored, unknown, fine], False) == ()


def test_the_plan_shows_steps_effects_and_changed_lines_only() -> None:
    lines = plan_lines(planned(LEVEL, LOSE, "call somebody"))
    assert lines == [
        "X0 warning: X0 is bad",
        "  edit: set level = 3 in [app:main]",
        "X1 warning: X1 is bad",
        "  run: rm /x (this deletes data)",
        "X2 warning: X2 is bad",
        "  left to you: only you can do it",
        "    call somebody",
        "",
        "--- /srv/my.ini",
        "+++ /srv/my.ini",
        "@@ -4 +4 @@ [app:main]",
        "-level = 2",
        "+level = 3",
    ]


@pytest.mark.parametrize(
    "after, restart, verdict",
    [
        (None, False, Verdict.gone),
        (Severity.ok, False, Verdict.gone),
        (Severity.advice, False, Verdict.better),
        (Severity.warning, False, Verdict.same),
        (Severity.warning, True, Verdict.restart),
        (Severity.error, True, Verdict.worse),
        (Severity.unknown, False, Verdict.unknown),
    ],
)
def test_a_finding_is_compared_with_itself(
    after: Optional[Severity], restart: bool, verdict: Verdict
) -> None:
    edit = IniEdit(LEVEL.options, restart=restart)
    plan = planned(edit)
    found = [finding("X0", edit, after)] if after is not None else []
    (result,), new = judged(plan, found)
    assert (result.verdict, new) == (verdict, [])


def test_what_is_new_is_seen_and_makes_no_success() -> None:
    plan = planned(LEVEL)
    other = Finding(Severity.advice, "another", subject="other", check="X0")
    results, new = judged(plan, [other])
    outcome = Outcome(results, new, restored=True)
    assert new == [other] and not outcome.all_gone
    assert outcome_lines(plan, outcome)[1:] == [
        "gone: X0: warning -> no longer found",
        "new: X0 advice: another",
        "/srv/my.ini was put back: it is as it was before.",
    ]


def test_nothing_to_fix_says_what_is_not_known_and_what_is_left() -> None:
    found = [finding("X0", LOSE), finding("X1", "", Severity.unknown)]
    assert nothing_lines(found[1:], False) == ["nothing to fix", "X1 unknown: X1 is bad"]
    assert nothing_lines(found, True) == [
        "nothing to fix",
        "found, but without a remedy that can be undone: X0",
        "not measured, or not completely: X1",
    ]
