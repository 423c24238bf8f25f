"""Whether the source has the schema of the application that is installed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from kallithea_tune.app.application import SchemaHistory

UPGRADE = "upgrade the database first: alembic -c my.ini upgrade head"


def require_newest(stamped: tuple[str, ...], history: SchemaHistory) -> None:
    """Raise Refused unless the revisions that a database is `stamped` with are the newest ones."""
    heads = history.heads
    if not heads or stamped == heads:
        return
    required = ", ".join(heads)
    if not stamped:
        raise Refused(
            "the source has no revision in alembic_version, so its schema is unknown; restore "
            f"that table from a backup (this application requires {required})"
        )
    if len(set(stamped)) < len(stamped) or len(stamped) > len(heads):
        raise Refused(
            f"alembic_version in the source has {len(stamped)} rows ({', '.join(stamped)}) instead "
            f"of {len(heads)}; delete those that are not the revision of its schema first"
        )
    unknown = [revision for revision in stamped if revision not in history.revisions]
    if unknown:
        raise Refused(
            f"the source is at revision {unknown[0]}, which this application does not know, so a "
            "newer version has upgraded it; install that version here first"
        )
    raise Refused(
        f"the source is at revision {', '.join(stamped)}, but this application requires "
        f"{required}; {UPGRADE}"
    )
