"""Carries a plan out: the edit and the commands are kept where the findings are gone with them."""

from __future__ import annotations

import contextlib
import enum
import os
import pwd
from dataclasses import dataclass, field
from typing import Callable, Optional, Sequence

from kallithea_tune.app import visit
from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.owner import Owner, owner_of
from kallithea_tune.config import inifile, locate
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import ConfigError, NotMeasured, Refused, TuneError
from kallithea_tune.perf_check import saved_run
from kallithea_tune.perf_check.fix.plan import Plan, Task
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Command
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.perf_check.servers.served import servers
from kallithea_tune.system import interruption, programs
from kallithea_tune.system.account import Account, account_of, acting_as
from kallithea_tune.text import shortened

# A repack of a large repository takes minutes; what takes longer hangs. Our judgement.
COMMAND_SECONDS = 3600.0
# A repository may belong to somebody else: git starts nothing that its configuration says.
SAFE_GIT = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": "/dev/null",
    "GIT_CONFIG_KEY_1": "core.fsmonitor",
    "GIT_CONFIG_VALUE_1": "false",
}
PAGE, PAGE_SECONDS, LOOK_SECONDS = "/", 30.0, 5.0
REASON = 300  # characters of an application's own words


class Verdict(enum.Enum):
    """What became of a finding."""

    gone = "gone"
    restart = "goes with a restart"
    better = "better, and not gone"
    same = "still there"
    worse = "worse"
    unknown = "not measured again"
    by_hand = "left to you"


@dataclass(frozen=True)
class Result:
    """A finding before and after; `after` is None where it is no longer found."""

    before: Finding
    after: Optional[Finding]
    verdict: Verdict


@dataclass
class Outcome:
    """What was carried out, and what came of it.

    `failure` is why nothing of it could be judged, or the application no longer answers. The ini
    file was `restored`, or `backup` has the one before. `new` are findings that were not there.
    """

    results: list[Result] = field(default_factory=list)
    new: list[Finding] = field(default_factory=list)
    failure: str = ""
    backup: str = ""
    restored: bool = False

    @property
    def all_gone(self) -> bool:
        """Whether every finding is gone, and nothing new is there."""
        gone = all(result.verdict is Verdict.gone for result in self.results)
        return gone and not self.new and not self.failure


Progress = Callable[[str, int, int], None]


class CommandFailed(TuneError):
    """A command of a remedy did not do what it is for."""


def require_possible(plan: Plan, instance: Instance) -> None:
    """Raise Refused for what needs Kallithea stopped while it runs, or another user's rights."""
    owner = owner_of(instance)
    for command in (*plan.before, *plan.after):
        _account(command.user, owner)
    stopped = [task.finding.check for task in plan.tasks if task.stopped]
    running = _running(instance) if stopped else 0
    if running:
        raise Refused(
            f"{', '.join(stopped)} can only be fixed while Kallithea is not running, and "
            f"{running} {'process serves' if running == 1 else 'processes serve'} this ini file; "
            "stop it first"
        )


def _running(instance: Instance) -> int:
    with contextlib.suppress(NotMeasured):
        return Context(instance, Deadline(LOOK_SECONDS)).measure(servers).processes.running
    return 0


def carry_out(
    plan: Plan, instance: Instance, measure: Callable[[Instance], Run], progress: Progress
) -> Outcome:
    """Carry out the plan, `measure` its checks again, and put the ini file back unless it helped.

    Raises Refused, with nothing done, where the application does not load with the new ini file,
    or no longer answers; CommandFailed where a command fails before the ini file is changed.
    """
    edit, commands = plan.edit, bool(plan.before or plan.after)
    progress("whether the application answers", 0, 1)
    answered = _answers(instance) if edit.is_empty else _answers_with(edit, instance)
    owner = owner_of(instance)
    _run_all(plan.before, owner, progress)
    outcome = Outcome()

    def works() -> bool:
        try:
            _run_all(plan.after, owner, progress)
            found = measure(_reloaded(instance)).findings
            outcome.results, outcome.new = judged(plan, found)
            if commands and answered and not _answers(_reloaded(instance)):
                outcome.failure = f"the application no longer answers {PAGE}"
        except (CommandFailed, ConfigError) as error:
            outcome.failure = str(error)
        return not outcome.failure and not outcome.new and _kept(outcome, plan)

    backups = locate.apply([edit], works)
    outcome.backup = backups[0] if backups else ""
    outcome.restored = not edit.is_empty and not backups
    return outcome


def _reloaded(instance: Instance) -> Instance:
    return load(f"{instance.path}#{instance.name}")


def _answers(instance: Instance) -> bool:
    """Whether the application loads and answers its front page without an error."""
    with contextlib.suppress(NotMeasured):
        return _loads_and_answers(instance)
    return False


def _loads_and_answers(instance: Instance) -> bool:
    """Load the application, and return whether it answers. Raises NotMeasured as `visit`."""
    answer = visit.visit(instance, [visit.Request(PAGE)], PAGE_SECONDS).answers[0]
    return 0 < answer.status < 500 and not answer.failed


def _answers_with(edit: inifile.Edit, instance: Instance) -> bool:
    """Whether the application answers with the text that `edit` leaves.

    Raises Refused where it does not load with it, or does not answer although it did before.
    """
    with inifile.candidate(edit) as path:
        try:
            answers = _loads_and_answers(load(f"{path}#{instance.name}"))
        except (NotMeasured, ConfigError) as error:
            reason = error.reason if isinstance(error, DoesNotLoad) else str(error)
            raise Refused(_does_not_load(shortened(reason, REASON), instance)) from None
    if not answers and _answers(instance):
        raise Refused(f"{PAGE} does not answer with the new ini file, so nothing was changed")
    return answers


def _does_not_load(reason: str, instance: Instance) -> str:
    """Say why, and where that is no news, what comes first."""
    try:
        _loads_and_answers(instance)
    except DoesNotLoad:
        return f"the application does not load as it is, so fix WEB008 first ({reason})"
    except NotMeasured:
        pass
    return f"the application does not load with the new ini file, so nothing was changed ({reason})"


def _run_all(commands: Sequence[Command], owner: Owner, progress: Progress) -> None:
    for number, command in enumerate(commands):
        interruption.check()
        progress(" ".join(command.words[:3]), number, len(commands))
        _run(command, owner)


def _run(command: Command, owner: Owner) -> None:
    """Run a command as its user, in a safe environment. Raises CommandFailed."""
    name = " ".join(command.words[:3])
    try:
        with acting_as(_account(command.user, owner)):
            directory = command.directory or "/"
            ended = programs.run(command.words, COMMAND_SECONDS, directory, SAFE_GIT)
    except OSError as error:
        raise CommandFailed(f"{name}: {error.strerror}") from None
    except (NotMeasured, programs.TooLate) as error:
        raise CommandFailed(f"{name}: {error}") from None
    if ended.status:
        lines = (ended.errors or ended.output).decode("utf-8", "replace").strip().splitlines()
        said = f": {shortened(lines[-1].strip())}" if lines else ""
        raise CommandFailed(f"{name} ended with status {ended.status}{said}")


def _account(user: str, owner: Owner) -> Optional[Account]:
    """Return the account to act as, None for the one that we are. Raises Refused without rights."""
    if not user:
        return owner.account
    try:
        uid = int(user[1:]) if user.startswith("#") else pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        raise Refused(f"there is no user {user}") from None
    if owner.account and uid == owner.account.uid:
        return owner.account
    if uid == os.geteuid():
        return None
    if os.geteuid():
        raise Refused(f"a command has to run as {user}; run this as root, or as {user}")
    return account_of(uid, uid)


def judged(plan: Plan, found: Sequence[Finding]) -> tuple[list[Result], list[Finding]]:
    """Return what became of each finding of the plan, and the findings that are new; pure."""
    after = saved_run.saved(plan.checks, found)
    results = [_result(task, after) for task in plan.carried_out]
    known = {(task.finding.check, task.finding.subject) for task in plan.tasks}
    new = [
        item
        for item in found
        if item.severity > Severity.unknown
        and not item.ignored
        and (item.check, item.subject) not in known
    ]
    return results, new


def _result(task: Task, after: saved_run.SavedRun) -> Result:
    before = task.finding
    now = after.get((before.check, before.subject))
    if now is None or now.severity is Severity.ok:
        return Result(before, now, Verdict.gone)
    if now.severity is Severity.unknown:
        return Result(before, now, Verdict.unknown)
    if now.severity > before.severity:
        return Result(before, now, Verdict.worse)
    if task.restart:
        return Result(before, now, Verdict.restart)
    return Result(before, now, Verdict.better if now.severity < before.severity else Verdict.same)


def _kept(outcome: Outcome, plan: Plan) -> bool:
    """Whether every finding that the ini file was edited for is gone, or goes with a restart."""
    edited = [bool(task.edits) for task in plan.carried_out]
    return all(
        result.verdict in (Verdict.gone, Verdict.restart)
        for result, has_edit in zip(outcome.results, edited)
        if has_edit
    )
