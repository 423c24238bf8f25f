"""Options of the ini file that nothing reads."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import IniEdit, Option
from kallithea_tune.perf_check.serving.option_families import SIMILARITY, Unread  # noqa: F401
from kallithea_tune.perf_check.serving.option_names import UnreadOptions, unread_options


@check(
    "CFG004",
    "settings-unread",
    "Options that nothing reads",
    measures=(unread_options,),
    threshold="read by the application or what it requires",
    source="its source and ini template",
    tags=("config",),
    harm=Harm.housekeeping,
)
def unread(options: UnreadOptions) -> Iterator[Finding]:
    """Report options that are silently ignored; a misspelling of another option is a warning."""
    for option in options.unread:
        yield judge(option)
    if not options.unread:
        yield Finding(Severity.ok, "every option of the application and of the server is read")


def judge(option: Unread) -> Finding:
    """Propose the right name only where it is not there: no ini file loads with an option twice."""
    place = f"option {option.name}" + (f" in [{option.section}]" if option.of_server else "")
    finding = functools.partial(
        Finding,
        diagnosis=f"nothing that is installed reads the {place}",
        subject=option.name,
        evidence={"similar": option.similar or "none"},
    )
    removed = Option(option.section, option.key)
    if option.present:
        note = f"{option.similar} is set as well"
        return finding(Severity.warning, remedy=IniEdit((removed,), note))
    if option.similar:
        form = option.key[: -len(option.name)]
        right = Option(option.section, form + option.similar, option.value)
        return finding(Severity.warning, remedy=IniEdit((removed, right)))
    note = "unless you find out what it was meant to do"
    return finding(Severity.advice, remedy=IniEdit((removed,), note))
