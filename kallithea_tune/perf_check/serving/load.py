"""How many actions the log has in its busiest minute."""

from __future__ import annotations

from dataclasses import dataclass

from kallithea_tune.perf_check.database.server_checks import survey
from kallithea_tune.perf_check.measurement import Context, Examined, measurement


@dataclass(frozen=True)
class BusiestMinute:
    """The pulls, pushes and administrative actions in the busiest minute; 0 for an empty log."""

    actions: int

    @property
    def examined(self) -> Examined:
        """The one minute."""
        return Examined(1, 1, "minute")


@measurement(needs=("database",))
def busiest_minute(context: Context) -> BusiestMinute:
    """Read the busiest minute from the newest rows of user_logs."""
    return BusiestMinute(survey(context).get("log", {}).get("busiest_minute", 0))
