"""What the settings have workers load and accept from the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from kallithea_tune.perf_check.celery.request_tasks import uses_celery
from kallithea_tune.perf_check.measurement import Context, Examined, measurement

PLUG_IN = "kallithea_tune.fleet"


@dataclass(frozen=True)
class RemoteControl:
    """The settings of the workers, as Kallithea reads them: `include` is one module, `imports` and
    `accepted` are lists of words, and None where they are not set.

    `wanted` says that --fleet requests something of the workers. `section` is the ini file's.
    """

    uses_celery: bool = False
    wanted: bool = False
    include: str = ""
    imports: Optional[tuple[str, ...]] = None
    accepted: Optional[tuple[str, ...]] = None
    section: str = ""

    @property
    def examined(self) -> Examined:
        """The settings, where there are workers."""
        return Examined(int(self.uses_celery), int(self.uses_celery), "setting")


@measurement()
def remote_control(context: Context) -> RemoteControl:
    """Read celery.include, celery.imports and celery.accept_content."""
    instance = context.instance
    if not uses_celery(instance):
        return RemoteControl()

    def words(name: str) -> Optional[tuple[str, ...]]:
        text = instance.settings.get(f"celery.{name}")
        return None if text is None else tuple(text.split())

    include = instance.settings.get("celery.include", "").strip()
    return RemoteControl(
        True,
        context.on_request.fleet,
        include,
        words("imports"),
        words("accept_content"),
        instance.section,
    )
