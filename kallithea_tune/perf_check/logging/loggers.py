"""The loggers that the ini file configures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Mapping, Optional

from kallithea_tune.config.pastedeploy import raw
from kallithea_tune.perf_check.measurement import Context, Examined, measurement

ECHO = "sqlalchemy.echo"
ECHO_WORDS = ("true", "debug", "1", "on")
Sections = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Loggers:
    """The level of each logger by its qualname, that of the root being "".

    The level of ``sqlalchemy.echo`` is INFO where that setting makes SQLAlchemy's engine log
    statements. `names` are the keys of ``[loggers]``, None for an ini file without that section;
    `qualnames` are those that are set. `sections` are those that set the levels.
    """

    levels: Mapping[str, str]
    names: Optional[tuple[str, ...]] = ()
    qualnames: frozenset[str] = frozenset()
    sections: Mapping[str, str] = field(default_factory=dict)

    @property
    def examined(self) -> Examined:
        """All loggers of the ini file."""
        return Examined(len(self.levels), len(self.levels), "logger")

    @property
    def verbose(self) -> tuple[str, ...]:
        """The loggers that write a line for every statement or step."""
        # The root's level counts only for loggers that set none of their own, and Kallithea's
        # template leaves it NOTSET.
        return tuple(
            sorted(
                name
                for name, level in self.levels.items()
                if name and (level == "DEBUG" or name.startswith("sqlalchemy") and level == "INFO")
            )
        )


@measurement()
def loggers(context: Context) -> Loggers:
    """Read the loggers of the ini file and ``sqlalchemy.echo``."""
    found = loggers_of(context.instance.sections, context.instance.settings)
    # What sets it there wins over the application's section.
    everywhere = ECHO in raw(context.instance.path).defaults()
    section = "DEFAULT" if everywhere else context.instance.section
    return replace(found, sections={**found.sections, ECHO: section})


def loggers_of(sections: Sections, settings: Mapping[str, str]) -> Loggers:
    """Return the loggers among the `sections` of an ini file."""
    keys = sections.get("loggers", {}).get("keys", "").split(",")
    names = tuple(filter(None, map(str.strip, keys)))
    levels, qualnames, places = {}, set(), {}
    for name in names:
        section = sections.get(f"logger_{name}", {})
        qualname = section.get("qualname", name if name != "root" else "")
        levels[qualname] = section.get("level", "NOTSET").strip().upper()
        places[qualname] = f"logger_{name}"
        if "qualname" in section:
            qualnames.add(qualname)
    if settings.get(ECHO, "false").strip().lower() in ECHO_WORDS:
        levels[ECHO] = "INFO"
    known = names if "loggers" in sections else None
    return Loggers(levels, known, frozenset(qualnames), places)
