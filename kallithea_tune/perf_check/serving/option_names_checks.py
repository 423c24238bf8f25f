"""Options of the ini file that nothing reads."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.serving.option_families import (  # noqa: F401
    SIMILARITY,
    Unread,
    closest,
)
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
    found = list(options.of_families)
    for name in options.unread:
        similar = closest(name, options.template)
        found.append(Unread("", name, similar, similar in options.present))
    for option in found:
        yield judge(option)
    if not found:
        yield Finding(Severity.ok, "every option of the application and of the server is read")


def judge(option: Unread) -> Finding:
    """Propose the right name only where it is not there: no ini file loads with an option twice."""
    place = f"option {option.name}" + (f" in [{option.section}]" if option.section else "")
    finding = functools.partial(
        Finding,
        diagnosis=f"nothing that is installed reads the {place}",
        subject=option.name,
        evidence={"similar": option.similar or "none"},
    )
    if option.present:
        return finding(Severity.warning, remedy=f"remove it: {option.similar} is set as well")
    if option.similar:
        return finding(Severity.warning, remedy=f"write {option.similar} in place of it")
    return finding(Severity.advice, remedy="remove it, or find out what it was meant to do")
