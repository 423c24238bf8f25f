"""Options of the ini file that nobody reads."""

from __future__ import annotations

import difflib
import os
import re
from typing import Any, Iterator, Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

TEMPLATE = os.path.join("templates", "ini", "template.ini.mako")
_OPTION = re.compile(r"^#?(?:get |set )?([a-z][\w.]*) ?=", re.MULTILINE)


def template_options(package: str) -> frozenset[str]:
    """Return the options that the application's own ini template has, those in comments included;
    empty without one.
    """
    try:
        with open(os.path.join(package, TEMPLATE), encoding="utf-8") as file:
            return frozenset(_OPTION.findall(file.read()))
    except FileNotFoundError:
        return frozenset()


def unfamiliar(options: Sequence[str], template: frozenset[str]) -> list[str]:
    """Return the options that neither the template has nor a family of its dotted names, such as
    ``celery.``.
    """
    families = {name.split(".")[0] for name in template if "." in name}
    names = [re.sub("^(get|set) ", "", option) for option in options]
    return sorted(
        name
        for name in names
        if name not in template
        and name.split(".")[0] not in families
        # Issue trackers are numbered by the admin: issue_pat_wiki.
        and not any(
            name.startswith(known + "_") for known in template if known.startswith("issue_")
        )
    )


def judge_unread(unread: Mapping[str, Optional[str]]) -> Iterator[Finding]:
    """An option that nothing reads does nothing; one that looks like a known one is a slip of the
    pen.
    """
    common: dict[str, Any] = {
        "threshold": "read by the application or what it requires",
        "source": "its source and ini template",
    }
    if not unread:
        yield Finding(
            Severity.ok, "every option of the application's section is read by something", **common
        )
    for name, meant in unread.items():
        yield Finding(
            Severity.warning if meant else Severity.advice,
            f"nothing that is installed reads the option {name}",
            subject=name,
            evidence={"similar": meant or "none"},
            remedy=f"write {meant}" if meant else "take it out, or ask what it was meant to do",
            **common,
        )


@check(
    "CFG004",
    "settings-unread",
    "Options that nothing reads",
    "serving",
    seconds=4.0,
    tags=("config",),
)
def unread_options(context: Context) -> Iterator[Finding]:
    """Look for each option of the application's section in its ini template, then in the source of
    all it requires.

    A misspelt option is silently ignored. Options of a dotted family that the template knows
    (``beaker.``, ``celery.``, ``sqlalchemy.``) are passed on whole by the application and are not
    looked at here.
    """
    from kallithea_tune.app.package import package_directory
    from kallithea_tune.perf_check.serving.option_names import is_read

    instance = context.instance
    template = template_options(package_directory(instance.use))
    options = [
        name
        for name in instance.sections.get(instance.section, {})
        if name not in ("use", "filter-with")
    ]
    unread = {}
    for name in unfamiliar(options, template):
        if context.deadline.passed:
            raise NotMeasured(f"the time was over before {name} was looked for")
        if not is_read(instance.use, [name]):
            unread[name] = next(
                iter(difflib.get_close_matches(name, sorted(template), 1, 0.85)), None
            )
    yield from judge_unread(unread)
