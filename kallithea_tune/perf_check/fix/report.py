"""What is carried out, and what came of it: as text for people, as rows for machines."""

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from kallithea_tune.perf_check.fix.carry_out import Outcome, Verdict
from kallithea_tune.perf_check.fix.plan import Plan, Task
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Effect, IniEdit, actions, steps_of
from kallithea_tune.text import plain, shell_word, wrapped

COLUMNS = ("check", "subject", "before", "after", "verdict", "diagnosis", "remedy", "actions")
LINES = 9  # of an edit; a command is never broken
_EFFECTS = {
    Effect.reversible: "",
    Effect.lasting: " (this is permanent)",
    Effect.deletes: " (this deletes data)",
}


def plan_lines(plan: Plan) -> list[str]:
    """Return each finding with what is carried out of its remedy, then the changed lines of the
    ini file. Secrets in these have to be masked.
    """
    lines = [line for task in plan.tasks for line in _task_lines(task)]
    if not plan.edit.is_empty:
        lines += ["", *plan.edit.diff.splitlines()]
    return lines


def _task_lines(task: Task) -> Iterator[str]:
    finding = task.finding
    yield from _heading(finding)
    if task.by_hand:
        yield from wrapped("  left to you: ", task.by_hand)
        if finding.remedy:
            yield f"    {finding.remedy}"
        return
    for step in steps_of(finding.remedy):
        if isinstance(step, IniEdit):
            yield from wrapped("  edit: ", f"{step}{_EFFECTS[step.effect]}", LINES)
        else:
            yield f"  run: {step}{_EFFECTS[step.effect]}"


def _heading(finding: Finding) -> list[str]:
    named = finding.subject in finding.diagnosis
    subject = f" ({finding.subject})" if finding.subject and not named else ""
    return wrapped(f"{finding.check} {finding.severity.name}: ", finding.diagnosis + subject, 2)


def note_lines(notes: Sequence[str]) -> list[str]:
    """Return what else a run says, as whom it measured for example."""
    return ["", *(line for note in notes for line in wrapped("Note: ", note, 3))] if notes else []


def outcome_lines(plan: Plan, outcome: Outcome) -> list[str]:
    """Return what became of each finding, and where the ini file before is."""
    lines = [""]
    for result in outcome.results:
        now = result.after.severity.name if result.after else "no longer found"
        place = " ".join(filter(None, (result.before.check, result.before.subject)))
        change = f"{result.before.severity.name} -> {now}"
        lines += wrapped(f"{result.verdict.value}: ", f"{place}: {change}", 2)
        if result.after and result.verdict is not Verdict.gone:
            lines += wrapped("  now: ", result.after.diagnosis, 2)
    for finding in outcome.new:
        lines += wrapped(
            "new: ", f"{finding.check} {finding.severity.name}: {finding.diagnosis}", 2
        )
    if outcome.failure:
        lines += wrapped("failed: ", outcome.failure, 3)
    return [*lines, *_of_the_file(plan, outcome)]


def _of_the_file(plan: Plan, outcome: Outcome) -> Iterator[str]:
    path = plan.edit.path
    if outcome.restored:
        yield from wrapped("", f"{path} was put back: it is as it was before.", 3)
    elif outcome.backup:
        yield from wrapped("", f"{path} is changed; restart Kallithea. To go back:", 3)
        yield f"    cp -p {shell_word(outcome.backup)} {shell_word(path)}"


def nothing_lines(findings: Sequence[Finding], safe_only: bool) -> list[str]:
    """Say that there is nothing to fix, and of which checks that is not known."""
    unknown = [item for item in findings if item.severity is Severity.unknown]
    others = [item for item in findings if item.severity > Severity.unknown and not item.ignored]
    lines = ["nothing to fix"]
    if others and safe_only:
        ids = ", ".join(dict.fromkeys(item.check for item in others))
        lines += wrapped("", f"found, but without a remedy that can be undone: {ids}", 3)
    if safe_only and unknown:
        ids = ", ".join(dict.fromkeys(item.check for item in unknown))
        return lines + wrapped("not measured, or not completely: ", ids, 3)
    for finding in unknown:
        lines += wrapped(f"{finding.check} unknown: ", finding.diagnosis, 2)
    return lines


def rows(plan: Plan, outcome: Optional[Outcome]) -> list[list[object]]:
    """Return one row of `COLUMNS` for each task; before anything is done, without the outcome."""
    results = iter(outcome.results if outcome else ())
    found = []
    for task in plan.tasks:
        finding, after, verdict = task.finding, "", "planned"
        result = next(results, None) if not task.by_hand else None
        if task.by_hand:
            verdict = f"{Verdict.by_hand.value}: {task.by_hand}"
        elif outcome:
            verdict = result.verdict.value if result else outcome.failure
            after = result.after.severity.name if result and result.after else ""
        before = finding.severity.name
        values = (finding.subject, before, after, verdict, finding.diagnosis, finding.remedy)
        found.append([plain(item) for item in (finding.check, *values, actions(finding.remedy))])
    return found
