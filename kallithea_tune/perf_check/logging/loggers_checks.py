"""Which loggers the ini file configures, and how verbose they are."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.logging.loggers import ECHO, Loggers, loggers
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import IniEdit, Option, Remedy

GEARBOX = "gearbox"


@check("CFG003", "logging-gearbox", "Logger of gearbox", measures=(loggers,), tags=("config",))
def gearbox_logger(measured: Loggers) -> Iterator[Finding]:
    """The ini file has a logger for gearbox, so that its errors are seen."""
    if measured.names is None:
        yield Finding(Severity.ok, "the ini file configures no logging, so gearbox keeps its own")
        return
    finding = partial(
        Finding,
        evidence={"loggers": len(measured.names)},
        source="Python, logging.config.fileConfig",
    )
    if GEARBOX in measured.qualnames:
        yield finding(Severity.ok, "gearbox has a logger of its own in the ini file")
        return
    # Only advice: gearbox 0.3.2 and 0.5.0 keep existing loggers themselves, so only other commands
    # go silent.
    yield finding(
        Severity.advice,
        "no logger for gearbox: plain fileConfig() mutes its errors",
        threshold="a logger gearbox",
        remedy=with_gearbox(measured.names),
    )


@check(
    "CFG002",
    "logging-level",
    "DEBUG and SQL logging",
    measures=(loggers,),
    tags=("config",),
    harm=Harm.every_page,
)
def levels(measured: Loggers) -> Iterator[Finding]:
    """No logger is at DEBUG, and SQLAlchemy's engine is not at INFO."""
    verbose = measured.verbose
    finding = partial(
        Finding,
        evidence={name: measured.levels[name] for name in verbose}
        or {"loggers": len(measured.levels)},
        source="SQLAlchemy manual, configuring logging",
    )
    if verbose:
        yield finding(
            Severity.warning,
            f"verbose logging is on for {', '.join(verbose)}",
            remedy=quieting(measured),
        )
    else:
        yield finding(Severity.ok, "no logger writes a line for every statement or step")


def quieting(measured: Loggers) -> Remedy:
    """Return the remedy that makes the verbose loggers quiet."""
    return IniEdit(
        tuple(
            Option(measured.sections.get(name, "app:main"), ECHO, "false")
            if name == ECHO
            else Option(measured.sections.get(name, f"logger_{name}"), "level", "WARN")
            for name in measured.verbose
        )
    )


def with_gearbox(names: Sequence[str]) -> Remedy:
    """Return the remedy that gives gearbox a logger, beside those of the keys `names`."""
    section = f"logger_{GEARBOX}"
    keys = ", ".join(dict.fromkeys((*names, GEARBOX)))
    return IniEdit(
        (
            Option("loggers", "keys", keys),
            Option(section, "level", "WARN"),
            Option(section, "handlers", ""),
            Option(section, "qualname", GEARBOX),
        )
    )
