"""What publishing would change, as a value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Collection, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.errors import Refused
from kallithea_tune.static_export.release import compress
from kallithea_tune.static_export.release.freshness import Differences, compare
from kallithea_tune.static_export.release.integrity import AHEAD_NS, Damage
from kallithea_tune.static_export.release.manifest import (
    History,
    Manifest,
    Published,
    Recipe,
    StaticFile,
)
from kallithea_tune.static_export.sources.collect import Unpublished
from kallithea_tune.text import counted


@dataclass(frozen=True)
class Served:
    """What the application serves now, overlays included; `left_out` is not to be published.

    `unpublished` is what cannot be, `notes` what to know of how all this was found out.

    `proven` are the paths whose content follows from the version: where it is, no other can come.
    """

    app: str
    version: str
    roots: tuple[str, ...]
    files: Mapping[str, StaticFile]
    left_out: Sequence[str] = ()
    proven: Collection[str] = ()
    unpublished: Sequence[Unpublished] = ()
    notes: Sequence[str] = ()


class MissingVariant(NamedTuple):
    """A variant that has yet to be compressed."""

    path: str
    coding: str


@dataclass(frozen=True)
class Plan:
    """What publishing would change, compared with what is published now (None at the first time).

    `reusable` are the paths whose files in the previous release are still right.
    """

    before: Optional[Manifest]
    after: Manifest
    differences: Differences
    removed: Sequence[str]
    kept: Sequence[str]
    damaged: Mapping[str, Damage]
    reusable: Collection[str]
    compressing: Sequence[MissingVariant]
    unpublished: Sequence[Unpublished] = ()

    @property
    def is_empty(self) -> bool:
        """Whether what is published is what would be."""
        return (
            self.before is not None
            and not self.damaged
            and not self.compressing
            and _visible(self.before) == _visible(self.after)
        )

    @property
    def replaced(self) -> list[str]:
        """The paths whose content was to last under ``?ver=``, and is another one now."""
        if self.before is None or self.before.version != self.after.version:
            return []
        now = self.after.files
        return [
            path
            for path, item in sorted(self.before.files.items())
            if item.lasting and path in now and now[path].file.sha256 != item.file.sha256
        ]

    @property
    def links(self) -> bool:
        """Whether files of the previous release can be hard-linked: their access rights stay."""
        return self.before is not None and (
            self.before.recipe.per_file == self.after.recipe.per_file
        )


def _visible(manifest: Manifest) -> tuple[object, ...]:
    files = {path: item.visible for path, item in manifest.files.items()}
    return manifest.app, manifest.version, manifest.recipe.per_file, files


def make(
    before: Optional[Manifest],
    served: Served,
    recipe: Recipe,
    damaged: Optional[Mapping[str, Damage]] = None,
    lost: bool = False,
) -> Plan:
    """Plan a release: the files served, and those of up to `keep` earlier releases that are gone.

    A page that was loaded before an upgrade still requests the files of its own version. `damaged`
    is what happened to the release; `lost` whether there was one of which nothing is known. Raises
    Refused where files that are not ours are in it.
    """
    damaged, now = damaged or {}, time.time_ns()
    _refuse_foreign(damaged)
    previous = before.files if before else {}
    intact = {path: item for path, item in previous.items() if path not in damaged}
    same_options = before is not None and before.recipe.per_file == recipe.per_file
    kept = _kept(before, intact, served, recipe)
    after: dict[str, Published] = {}
    reusable = set(kept)
    history = history_with(before, served)
    lasting = {path for path in served.proven if history[served.version].get(path)}
    for path, file in served.files.items():
        old = intact.get(path)
        misled = path in damaged and damaged[path].misleads
        mtime_ns = now if lost else _mtime_ns(file, previous.get(path), now, misled)
        if old is None or old.file.sha256 != file.sha256:
            after[path] = Published(file, mtime_ns, lasting=path in lasting)
            continue
        if same_options:
            reusable.add(path)
            if recipe.how != "symlink" or old.mtime_ns != old.file.mtime_ns:
                mtime_ns = old.mtime_ns
        after[path] = Published(file, mtime_ns, _variants(old, recipe), lasting=path in lasting)
    after.update(kept)
    return Plan(
        before=before,
        after=Manifest(
            served.app,
            served.version,
            recipe,
            after,
            served.roots,
            tuple(served.left_out),
            history=history,
        ),
        differences=compare(before, served.files)
        if before
        else Differences(sorted(served.files), [], []),
        removed=sorted(path for path in previous if path not in after),
        kept=sorted(kept),
        damaged=damaged,
        reusable=reusable,
        compressing=_missing_variants(after, recipe),
        unpublished=served.unpublished,
    )


def history_with(before: Optional[Manifest], served: Served) -> History:
    """Return what each URL with ``?ver=`` ever had as its content, `served` included. Pure."""
    history = dict(before.history) if before else {}
    if before and before.version not in history:
        # From before the manifest had a history.
        history[before.version] = {path: file.sha256 for path, file in before.sources.items()}
    known = dict(history.get(served.version, {}))
    for path, file in served.files.items():
        if known.setdefault(path, file.sha256) != file.sha256:
            known[path] = ""
    return {**history, served.version: known}


def _refuse_foreign(damaged: Mapping[str, Damage]) -> None:
    """Links and empty directories contain nothing that could be lost with the release."""
    foreign = [path for path, damage in damaged.items() if damage is Damage.file]
    if foreign:
        raise Refused(
            f"the published directory contains {counted(len(foreign), 'added file')}, the first "
            f"is {foreign[0]}; move them into an --overlay directory"
        )


def _kept(
    before: Optional[Manifest],
    intact: Mapping[str, Published],
    served: Served,
    recipe: Recipe,
) -> dict[str, Published]:
    """Return the files that are no longer served, and young enough to stay reachable."""
    upgraded = before is not None and (before.version, before.app) != (served.version, served.app)
    kept = {}
    for path, item in intact.items():
        age = item.kept + 1 if upgraded or not item.kept else item.kept
        if path not in served.files and path not in served.left_out and age <= recipe.keep:
            kept[path] = Published(item.file, item.mtime_ns, _variants(item, recipe), age)
    return kept


def _missing_variants(files: Mapping[str, Published], recipe: Recipe) -> list[MissingVariant]:
    return [
        MissingVariant(path, coding)
        for path, item in sorted(files.items())
        for coding in recipe.codings
        if coding not in item.variants
        and not item.kept
        and compress.worth_compressing(path, item.file.size)
    ]


def _mtime_ns(file: StaticFile, old: Optional[Published], now: int, misled: bool) -> int:
    """Return the modification time for what was published as `old`; a later second if it changed,
    or if browsers may have been `misled` by other content in its place.

    Web servers make ETags from size and time in seconds, and reproducible packages give all their
    files one time. A time in the future, which no server may send as Last-Modified (RFC 9110,
    8.8.2.1), becomes now: where a file or the clock was wrong.
    """
    own = min(file.mtime_ns, now)
    if old is None:
        return own
    if old.mtime_ns > now + AHEAD_NS:
        return now
    changed = misled or old.file.sha256 != file.sha256
    return max(own, old.mtime_ns + (10**9 if changed else 0))


def _variants(item: Published, recipe: Recipe) -> dict[str, int]:
    return {coding: size for coding, size in item.variants.items() if coding in recipe.codings}
