"""What every step of an export needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from kallithea_tune.config.instance import Instance
from kallithea_tune.static_export.options import Options
from kallithea_tune.static_export.release import access, publish
from kallithea_tune.static_export.report import Report


@dataclass(frozen=True)
class Export:
    """What every step needs; `path` is the absolute destination."""

    instance: Instance
    path: str
    options: Options
    report: Report
    progress: publish.Progress = field(default=publish.silent)

    @property
    def web_user(self) -> Optional[access.Reader]:
        """The user of ``--web-user``. Raises ConfigError for an unknown one."""
        return access.reader(self.options.web_user) if self.options.web_user else None
