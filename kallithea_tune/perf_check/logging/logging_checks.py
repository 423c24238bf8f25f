"""What is logged, how much of it, and whether gearbox can still speak."""

from __future__ import annotations

import os
import re
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

Sections = Mapping[str, Mapping[str, str]]
LINES = 25  # per request
LINE_MS = 10.0
ECHO = "sqlalchemy.echo"
_FIRST_ARGUMENT = re.compile(r"""\s*\(?\s*[rbu]?(?P<quote>['"])(?P<path>.+?)(?P=quote)""")


def judge_gearbox_logger(sections: Sections) -> Finding:
    """Without a gearbox logger, logging.config.fileConfig disables the one gearbox reports errors
    with.
    """
    names = [name.strip() for name in sections.get("loggers", {}).get("keys", "").split(",")]
    if "loggers" not in sections:
        return Finding(Severity.ok, "the ini file configures no logging, so gearbox keeps its own")
    qualified = {sections.get("logger_" + name, {}).get("qualname", "") for name in names}
    common: dict[str, Any] = {
        "evidence": {"loggers": len(names)},
        "source": "Python, logging.config.fileConfig",
    }
    if "gearbox" in qualified:
        return Finding(Severity.ok, "gearbox has a logger of its own in the ini file", **common)
    # Only advice: gearbox 0.3.2 and 0.5.0 keep existing loggers themselves, so other commands alone
    # go silent.
    return Finding(
        Severity.advice,
        "no logger for gearbox: plain fileConfig() mutes its errors",
        threshold="a logger gearbox",
        remedy="add gearbox to keys in [loggers], and a section [logger_gearbox] with level = WARN, handlers = (empty) "
        "and qualname = gearbox",
        **common,
    )


@check("CFG003", "logging-gearbox", "Logger of gearbox", "logging", tags=("config",))
def gearbox_logger(context: Context) -> Iterator[Finding]:
    """Look for a logger whose qualname is ``gearbox`` among the loggers of the ini file.

    Python's ``logging.config.fileConfig`` disables every existing logger that the file does not
    name, so a command that loads the ini that way and fails afterwards can fail without a word.
    ``gearbox serve`` of 0.3.2 and of 0.5.0 does not: it asks for existing loggers to be kept.
    """
    yield judge_gearbox_logger(context.instance.sections)


def effective_levels(sections: Sections) -> dict[str, str]:
    """Return the level of each logger (by qualname) that some handler prints."""
    levels = {}
    keys = [
        name.strip()
        for name in sections.get("loggers", {}).get("keys", "").split(",")
        if name.strip()
    ]
    for name in keys:
        section = sections.get("logger_" + name, {})
        levels[section.get("qualname", name if name != "root" else "")] = (
            section.get("level", "NOTSET").strip().upper()
        )
    return levels


def judge_levels(levels: Mapping[str, str]) -> Finding:
    """DEBUG anywhere, or INFO on SQLAlchemy's engine, writes lines for every request."""
    talkative = loud(levels)
    common: dict[str, Any] = {
        "evidence": {name: levels[name] for name in talkative} or {"loggers": len(levels)},
        "source": "SQLAlchemy manual, configuring logging",
    }
    if not talkative:
        return Finding(Severity.ok, "no logger writes a line for every statement or step", **common)
    return Finding(
        Severity.warning,
        "verbose logging is on for " + ", ".join(talkative),
        remedy=quieter(talkative),
        **common,
    )


def quieter(talkative: Sequence[str]) -> str:
    """Return the settings that make these loggers quiet."""
    settings = ["sqlalchemy.echo = false"] if ECHO in talkative else []
    if set(talkative) - {ECHO}:
        settings.append("level = WARN in the sections of these loggers")
    return "set " + ", and ".join(settings)


@check("CFG002", "logging-level", "DEBUG and SQL logging", "logging", tags=("config",))
def levels(context: Context) -> Iterator[Finding]:
    """Read the level of each logger: DEBUG, or INFO for SQLAlchemy's engine, echoes every
    statement.

    Such logging costs time in every request and fills the disk; it also writes users' data into the
    log.
    """
    yield judge_levels(configured_levels(context))


def configured_levels(context: Context) -> dict[str, str]:
    """Return the level of each logger, and INFO for ``sqlalchemy.echo`` where that makes the engine
    log statements.
    """
    found = effective_levels(context.instance.sections)
    if context.instance.settings.get("sqlalchemy.echo", "false").strip().lower() in (
        "true",
        "debug",
        "1",
        "on",
    ):
        found[ECHO] = "INFO"
    return found


def loud(levels: Mapping[str, str]) -> list[str]:
    """Return the loggers that write a line for every statement or step."""
    # The root's level counts only for loggers that set none of their own, and Kallithea's template
    # leaves it NOTSET.
    return sorted(
        name
        for name, level in levels.items()
        if name and (level == "DEBUG" or name.startswith("sqlalchemy") and level == "INFO")
    )


def judge_lines(lines: int, most: Sequence[str], remedy: str) -> Finding:
    """More than a screen of lines for one page is debugging."""
    common: dict[str, Any] = {
        "evidence": {"lines_per_request": lines, "most": list(most)},
        "threshold": "%d" % LINES,
        "source": "our judgement: a screen of text",
    }
    if lines <= LINES:
        return Finding(Severity.ok, "a page writes %d lines of log" % lines, **common)
    return Finding(
        Severity.warning,
        "each view of a page writes %d lines of log" % lines,
        remedy=remedy,
        **common,
    )


@check(
    "CFG007",
    "logging-lines",
    "Lines logged per request",
    "logging",
    seconds=4.0,
    needs=("app", "database"),
    tags=("probe",),
)
def lines(context: Context) -> Iterator[Finding]:
    """Count the lines that one view of a page writes, where some logger is set to DEBUG or echoes
    SQL.

    The login page is asked for in-process with the levels of the ini file, after a first view that
    is not counted.
    """
    from kallithea_tune.app.visit import Request, visit
    from kallithea_tune.perf_check.logging.log_lines import start, stop

    found = configured_levels(context)
    if not loud(found):
        return
    levels = {
        "sqlalchemy.engine" if name == ECHO else name: level
        for name, level in found.items()
        if level
    }
    arguments = {"levels": levels, "handler_level": least_level(context.instance.sections)}
    page = "/_admin/login"
    seen = visit(
        context.instance,
        [
            Request(page),
            Request(page, prepare=start, arguments=arguments),
            Request(page, prepare=stop),
        ],
        max(context.deadline.left, 10.0),
    )
    counted = seen.answers[2].result_of(stop)
    if not counted:
        raise NotMeasured("the time was over before the pages were seen")
    yield judge_lines(counted["lines"], counted["most"], quieter(loud(found)))


def least_level(sections: Sections) -> str:
    """Return the lowest level of the handlers: what passes the most talkative of them."""
    levels = [
        section.get("level", "NOTSET").strip().upper()
        for name, section in sections.items()
        if name.startswith("handler_")
    ]
    ranks = ["NOTSET", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"]
    return min((level for level in levels if level in ranks), key=ranks.index, default="NOTSET")


def log_files(sections: Sections, here: str) -> list[str]:
    """Return the paths that file handlers of the ini file write to; relative ones are taken from
    `here`.
    """
    paths = []
    for name, section in sections.items():
        if name.startswith("handler_") and "File" in section.get("class", ""):
            match = _FIRST_ARGUMENT.match(section.get("args", ""))
            if match:
                paths.append(
                    os.path.normpath(os.path.join(here, match["path"].replace("%(here)s", here)))
                )
    return paths


def judge_log_disk(path: str, times: Mapping[str, Any]) -> Finding:
    """A request waits for every line that it logs."""
    common: dict[str, Any] = {
        "subject": path,
        "evidence": dict(times),
        "threshold": f"p99 {LINE_MS:g} ms",
        "source": "our judgement",
    }
    if times["p99_ms"] <= LINE_MS:
        return Finding(Severity.ok, "the log file's disk takes a line quickly", **common)
    return Finding(
        Severity.warning,
        "requests wait for the disk that the log file is on",
        remedy="move the file to a local disk in the handler's args, or log to syslog",
        **common,
    )


@check(
    "CFG006",
    "logging-disk",
    "Disk of the log files",
    "logging",
    seconds=0.3,
    writes="beside the log files",
    tags=("probe",),
)
def log_disk(context: Context) -> Iterator[Finding]:
    """Append 300 lines, one write(2) each and no fsync, in a scratch directory beside each log
    file.

    That is what logging's file handlers do, inside the request. A file on a network or a full, slow
    disk shows here.
    """
    from kallithea_tune.system import child

    here = os.path.dirname(context.instance.path)
    files = log_files(context.instance.sections, here)
    if not files:
        yield Finding(Severity.ok, "no handler of the ini file writes to a file")
    for path in files:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            yield Finding(
                Severity.error,
                "a log handler writes into a directory that does not exist",
                subject=path,
                evidence={"directory": directory},
                threshold="it exists",
                source="Python, logging.handlers",
                remedy=f"mkdir -p {directory}",
            )
            continue
        yield judge_log_disk(
            path,
            child.call(
                "kallithea_tune.perf_check.logging.log_writes:write_lines",
                max(2.0, context.deadline.left),
                directory=directory,
                count=300,
            ),
        )
