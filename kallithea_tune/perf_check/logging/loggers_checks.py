"""Which loggers the ini file configures, and how verbose they are."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.logging.loggers import ECHO, Loggers, loggers
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check

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
        remedy="add gearbox to keys in [loggers], and a section [logger_gearbox] with "
        "level = WARN, handlers = (empty) and qualname = gearbox",
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
            remedy=quieting(verbose),
        )
    else:
        yield finding(Severity.ok, "no logger writes a line for every statement or step")


def quieting(verbose: Sequence[str]) -> str:
    """Return the remedy that makes these loggers quiet."""
    settings = [f"{ECHO} = false"] if ECHO in verbose else []
    if set(verbose) - {ECHO}:
        settings.append("level = WARN in the sections of these loggers")
    return f"set {', and '.join(settings)}"
