"""What is logged, how much of it, and whether gearbox can still speak."""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping

from kallithea_tune.checks.model import Context, Finding, Severity, check

Sections = Mapping[str, Mapping[str, str]]


def judge_gearbox_logger(sections: Sections) -> Finding:
    """Without a gearbox logger, logging.config.fileConfig disables the one gearbox reports errors with."""
    names = [name.strip() for name in sections.get("loggers", {}).get("keys", "").split(",")]
    if "loggers" not in sections:
        return Finding(Severity.ok, "the ini file configures no logging, so gearbox keeps its own")
    qualified = {sections.get("logger_" + name, {}).get("qualname", "") for name in names}
    common: dict[str, Any] = {"evidence": {"loggers": len(names)}, "source": "Python, logging.config.fileConfig"}
    if "gearbox" in qualified:
        return Finding(Severity.ok, "gearbox has a logger of its own in the ini file", **common)
    return Finding(
        Severity.advice, "the ini file has no logger for gearbox: plain fileConfig() mutes gearbox's errors",
        remedy="add gearbox to keys in [loggers], and a section [logger_gearbox] with level = WARN, handlers = (empty) "
        "and qualname = gearbox",
        **common)


@check("CFG003", "logging-gearbox", "Logger of gearbox", "logging", tags=("config",))
def gearbox_logger(context: Context) -> Iterator[Finding]:
    """Look for a logger whose qualname is ``gearbox`` among the loggers of the ini file.

    Python's ``logging.config.fileConfig`` disables every existing logger that the file does not name, so a command
    that loads the ini that way and fails afterwards can fail without a word.
    """
    yield judge_gearbox_logger(context.instance.sections)


def effective_levels(sections: Sections) -> dict[str, str]:
    """Return the level of each logger (by qualname) that some handler prints."""
    levels = {}
    keys = [name.strip() for name in sections.get("loggers", {}).get("keys", "").split(",") if name.strip()]
    for name in keys:
        section = sections.get("logger_" + name, {})
        levels[section.get("qualname", name if name != "root" else "")] = section.get("level", "NOTSET").strip().upper()
    return levels


def judge_levels(levels: Mapping[str, str]) -> Finding:
    """DEBUG anywhere, or INFO on SQLAlchemy's engine, writes lines for every request."""
    # The root's level counts only for loggers that set none of their own, and Kallithea's template leaves it NOTSET.
    loud: list[str] = [name for name, level in levels.items() if name and level == "DEBUG"]
    loud += [name for name, level in levels.items() if name.startswith("sqlalchemy") and level == "INFO"]
    common: dict[str, Any] = {"evidence": dict(levels), "source": "SQLAlchemy manual, configuring logging"}
    if not loud:
        return Finding(Severity.ok, "no logger writes a line for every statement or step", **common)
    return Finding(
        Severity.warning, "verbose logging is on for " + ", ".join(sorted(loud)),
        remedy="set level = WARN in the sections of these loggers", **common)


@check("CFG002", "logging-level", "DEBUG and SQL logging", "logging", tags=("config",))
def levels(context: Context) -> Iterator[Finding]:
    """Read the level of each logger: DEBUG, or INFO for SQLAlchemy's engine, echoes every statement.

    Such logging costs time in every request and fills the disk; it also writes users' data into the log.
    """
    settings = context.instance.settings
    found = effective_levels(context.instance.sections)
    if settings.get("sqlalchemy.echo", "false").strip().lower() in ("true", "debug", "1", "on"):
        found["sqlalchemy.echo"] = "INFO"
    yield judge_levels(found)


def log_files(sections: Sections) -> list[str]:
    """Return the paths that file handlers of the ini file write to."""
    paths = []
    for name, section in sections.items():
        if name.startswith("handler_") and "File" in section.get("class", ""):
            paths.append(section.get("args", "").strip("( ").split(",")[0].strip("'\" )"))
    return [path for path in paths if path and os.path.isabs(path)]
