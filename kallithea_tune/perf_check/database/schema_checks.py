"""Whether database and application are of the same version: the application refuses to start
otherwise.
"""

from __future__ import annotations

from typing import Any, Iterator, Optional, Sequence

from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import as_bool
from kallithea_tune.perf_check.database import schema as probe
from kallithea_tune.perf_check.database.server_checks import SECONDS, survey
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

SOURCE = "Kallithea 0.7.0, config/app_cfg.py; its manual on upgrading"


def judge_revision(
    current: Optional[Sequence[str]], known: probe.Revisions, ini: str, ignored: bool
) -> Finding:
    """What the application knows and is older can be upgraded; `ignored` says that it starts with
    any revision.
    """
    heads = probe.heads(known)
    common: dict[str, Any] = {
        "evidence": {
            "database": ", ".join(current) if current else "none",
            "application": ", ".join(heads),
        },
        "threshold": "the same",
        "source": SOURCE,
    }
    severity = Severity.warning if ignored else Severity.error
    starts = "starts all the same (ignore_alembic_revision)" if ignored else "will not start"
    if current and sorted(current) == heads:
        return Finding(Severity.ok, "database and application are of the same revision", **common)
    if not current:
        return Finding(
            severity,
            f"the database does not say its revision: Kallithea {starts}",
            remedy=f"if its tables are those of this Kallithea: alembic -c {ini} stamp head",
            **common,
        )
    if set(current) <= set(known):
        return Finding(
            severity,
            f"the database is older than the application: Kallithea {starts}",
            remedy=f"stop Kallithea, back the database up, then: alembic -c {ini} upgrade head",
            **common,
        )
    return Finding(
        severity,
        f"the application does not know the database's revision: Kallithea {starts}",
        remedy="install the Kallithea that wrote it, or restore the backup from before that",
        **common,
    )


@check(
    "DB014",
    "database-revision",
    "Revision of the schema",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def revision(context: Context) -> Iterator[Finding]:
    """Compare the database's alembic_version with the newest of the application's migrations.

    The migrations are read as text below the application's package, alembic/versions, and not
    imported. Kallithea makes the same comparison when it starts and calls sys.exit where they
    differ, unless ignore_alembic_revision is set.
    """
    instance = context.instance
    known = probe.revisions(package_directory(instance.use))
    facts = survey(context)
    if known and facts["tables"]:
        ignored = as_bool(instance.settings.get("ignore_alembic_revision", "false"))
        yield judge_revision(facts.get("revisions"), known, instance.path, ignored)
