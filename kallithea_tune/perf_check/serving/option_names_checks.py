"""Options of the ini file that nothing reads."""

from __future__ import annotations

import difflib
import functools
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.serving.option_names import UnreadOptions, unread_options

# difflib's ratio, from which on an option is taken for a misspelling of another: our judgement.
SIMILARITY = 0.85


@check(
    "CFG004",
    "settings-unread",
    "Options that nothing reads",
    measures=(unread_options,),
    threshold="read by the application or what it requires",
    source="its source and ini template",
    tags=("config",),
)
def unread(options: UnreadOptions) -> Iterator[Finding]:
    """Report options that are silently ignored; a misspelling of another option is a warning."""
    if not options.unread:
        yield Finding(Severity.ok, "every option of the application's section is read")
    for name in options.unread:
        similar = difflib.get_close_matches(name, sorted(options.template), 1, SIMILARITY)
        finding = functools.partial(
            Finding,
            diagnosis=f"nothing that is installed reads the option {name}",
            subject=name,
            evidence={"similar": similar[0] if similar else "none"},
        )
        if similar:
            yield finding(Severity.warning, remedy=f"write {similar[0]}")
        else:
            yield finding(Severity.advice, remedy="remove it, or find out what it was meant to do")
