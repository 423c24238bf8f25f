"""The published static files, compared with the application that is installed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.remedy import Command, Remedy
from kallithea_tune.perf_check.serving.static_files import front_end_build
from kallithea_tune.static_export.release.freshness import State, configured_export, renewal, state
from kallithea_tune.system.account import owner_name


@dataclass(frozen=True)
class PublishedExport:
    """The release at `directory`, which is empty if the ini file sets no export.

    `state` is None where nothing is published there. `renewal` publishes what is installed, and
    `build` builds the front-end.
    """

    directory: str
    state: Optional[State] = None
    renewal: Remedy = ""
    build: Remedy = ""

    @property
    def examined(self) -> Examined:
        """The published files."""
        count = len(self.state.manifest.files) if self.state else 0
        return Examined(count, count, "file")


@measurement(seconds=1.0)
def published_export(context: Context) -> PublishedExport:
    """Compare the export with what is installed, file by file, without loading the application.

    Raises NotMeasured where files cannot be read, or the manifest is damaged.
    """
    instance = context.instance
    directory = configured_export(instance)
    if not directory:
        return PublishedExport("")
    try:
        release = state(instance.use, directory)
    except TuneError as error:
        raise NotMeasured(str(error)) from None
    words = renewal(instance, directory, release.recipe if release else None)
    command = Command(words, user=owner_name(os.path.dirname(directory)))
    build = front_end_build(instance)
    if release and release.by_hand:
        by_hand = f"{release.by_hand}, then run {command.line}"
        return PublishedExport(directory, release, by_hand, build)
    return PublishedExport(directory, release, command, build)
