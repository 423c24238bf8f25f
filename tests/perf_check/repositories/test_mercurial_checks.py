"""Findings about Mercurial repositories, judged by tables and on real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest
from carry_out import carry_out
from environment import BIN
from perf_check.repositories.real import bad

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories import mercurial
from kallithea_tune.perf_check.repositories.mercurial import BranchCache, HgRepository
from kallithea_tune.perf_check.repositories.mercurial_branches import (
    BranchListing,
    branch_listing,
    list_branches,
)
from kallithea_tune.perf_check.repositories.mercurial_checks import (
    SLOW_PATH,
    formats,
    judge_branch_cache,
    judge_format,
    judge_nodemap,
    nodemap,
)
from kallithea_tune.perf_check.repositories.survey import Survey
from kallithea_tune.system import child

ENVIRONMENT = dict(
    os.environ,
    HGPLAIN="1",
    HGRCPATH="",
    HGUSER="me",
    PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",
)
NEW = ("dotencode", "fncache", "generaldelta", "revlogv1", "sparserevlog", "store")
TODAY = HgRepository(
    "one",
    bytes=99_000_000,
    requires=NEW,
    revisions=10,
    manifest_bytes=1000,
    branch_cache=BranchCache(9, writable=True),
    hooks={},
)


def hg(*args: object, cwd: Optional[Path] = None) -> str:
    """Run this environment's Mercurial."""
    return subprocess.run(
        [str(BIN / "hg"), *map(str, args)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        universal_newlines=True,
        cwd=str(cwd) if cwd else None,
    ).stdout


def survey(repository: HgRepository, rust: bool = False, storage: str = "") -> Survey:
    settings = {SLOW_PATH: storage} if storage else {}
    return Survey("/srv", 0, 1, 1, hg=(repository,), rust=rust, storage=settings)


def examined(path: Path) -> HgRepository:
    return mercurial.examine(path.name, str(path), float("inf"), mercurial.supported())


def without(*names: str) -> tuple[str, ...]:
    """Return the requirements of today but for `names`."""
    return tuple(name for name in NEW if name not in names)


@pytest.mark.parametrize(
    "repository, severity, words",
    [
        (TODAY, Severity.ok, ""),
        (
            replace(TODAY, requires=without("generaldelta", "sparserevlog"), bytes=9_000_000),
            Severity.ok,
            "",
        ),
        (
            replace(TODAY, requires=without("sparserevlog")),
            Severity.advice,
            "debugupgraderepo --run -o re-delta-parent",
        ),
        (
            replace(TODAY, requires=without("sparserevlog"), manifest_bytes=60_000_000),
            Severity.advice,
            "debugupgraderepo",
        ),
        (
            replace(TODAY, requires=without("generaldelta"), manifest_bytes=60_000_000),
            Severity.warning,
            "debugupgraderepo",
        ),
        (
            replace(TODAY, requires=("revlogv1",)),
            Severity.advice,
            "clone --pull -U /srv/one /srv/one.new",
        ),
    ],
)
def test_formats(repository: HgRepository, severity: Severity, words: str) -> None:
    found = judge_format(survey(repository))
    assert found.severity is severity and words in str(found.remedy)


MAPPED = replace(TODAY, requires=(*NEW, "persistent-nodemap"))
LARGE = replace(TODAY, revisions=100_000)


@pytest.mark.parametrize(
    "surveyed, severity, words",
    [
        (survey(TODAY), Severity.ok, ""),
        (survey(replace(TODAY, revisions=999_999)), Severity.ok, ""),
        (survey(replace(TODAY, revisions=99_999), rust=True), Severity.ok, ""),
        (survey(replace(TODAY, revisions=None), rust=True), Severity.ok, ""),
        (survey(LARGE, rust=True), Severity.advice, "format.use-persistent-nodemap=yes"),
        (survey(replace(MAPPED, revisions=100_000), rust=True), Severity.ok, ""),
        (survey(MAPPED), Severity.error, "slow-path=allow"),
        (survey(MAPPED, storage="abort"), Severity.error, "slow-path=allow"),
        (survey(MAPPED, storage="allow"), Severity.advice, "slow-path=allow"),
        (survey(replace(MAPPED, slow_path="warn")), Severity.advice, "slow-path=allow"),
    ],
)
def test_a_nodemap_is_advised_with_rust_only(
    surveyed: Survey, severity: Severity, words: str
) -> None:
    found = judge_nodemap(surveyed)
    assert found.severity is severity and words in str(found.remedy)
    assert surveyed.rust or "nodemap=yes" not in str(found.remedy)


@pytest.mark.parametrize(
    "listing, severity",
    [
        (BranchListing(0), Severity.ok),
        (BranchListing(1, "one", 10, (49.0, 80.0)), Severity.ok),
        (BranchListing(1, "one", 10, (51.0, 80.0)), Severity.warning),
    ],
)
def test_branch_caches(listing: BranchListing, severity: Severity) -> None:
    found = judge_branch_cache(survey(TODAY), listing)
    assert found.severity is severity
    assert found.impact_ms == (51.0 if severity is Severity.warning else None)


def remade(path: Path, *settings: str) -> None:
    """Make a repository anew in the format that `settings` of Mercurial give."""
    old = path.with_name(path.name + ".old")
    path.rename(old)
    hg(
        "clone",
        "-q",
        "--pull",
        "-U",
        *(word for setting in settings for word in ("--config", setting)),
        old,
        path,
    )
    shutil.rmtree(str(old))


def test_an_old_format_is_found_and_fixed_by_its_remedy(repos: Path) -> None:
    path = repos / "hg-one"
    # Large enough to be worth it.
    (path / "large").write_bytes(os.urandom(10_500_000))
    hg("-R", path, "commit", "-qAm", "Add a large file")
    remade(path, "format.usegeneraldelta=no", "format.sparse-revlog=no")
    repository = examined(path)
    assert not {"generaldelta", "sparserevlog"} & set(repository.requires)
    (found,) = bad(formats, repos).values()
    assert found.severity is Severity.advice and "hg-one" in found.diagnosis
    carry_out(found.remedy, "")
    assert not bad(formats, repos)
    assert "13 changesets" in hg("-R", path, "verify")


def test_mercurial_refuses_a_nodemap_and_the_remedy_opens_the_repository(repos: Path) -> None:
    assert not mercurial.has_rust()
    path = repos / "hg-one"
    remade(path, "format.use-persistent-nodemap=yes", f"storage.{SLOW_PATH}=allow")
    with pytest.raises(subprocess.CalledProcessError):
        hg("-R", path, "log")
    (found,) = bad(nodemap, path.parent).values()
    assert found.severity is Severity.error and "hg-one" in found.diagnosis
    (path / ".hg" / "hgrc").write_text(f"[storage]\n{SLOW_PATH} = allow\n")
    assert bad(nodemap, path.parent)[""].severity is Severity.advice
    (path / ".hg" / "hgrc").unlink()
    carry_out(found.remedy, "")
    assert hg("-R", path, "log") and not bad(nodemap, path.parent)


def test_a_branch_cache_that_cannot_be_written_is_seen(instance: Path) -> None:
    path = instance.parent / "repos" / "hg-one"
    cache = path / ".hg" / "cache"
    hg("-R", path, "branches")
    assert examined(path).branch_cache == BranchCache(11, writable=True)
    for file in cache.iterdir():
        file.unlink()
    cache.chmod(0o555)
    repository = examined(path)
    assert repository.branch_cache == BranchCache(-1, writable=False)
    assert repository.uncached == 12
    listing = Context(load(str(instance)), Deadline(30)).measure(branch_listing)
    assert (listing.stale, listing.repository, listing.uncached) == (1, "hg-one", 12)
    assert listing.ms and min(listing.ms) > 0
    # With a history that makes it felt.
    surveyed = replace(survey(repository), root=str(path.parent))
    found = judge_branch_cache(surveyed, replace(listing, ms=(51.0,)))
    assert found.severity is Severity.warning
    carry_out(found.remedy, instance)
    assert examined(path).uncached == 0
    listing = Context(load(str(instance)), Deadline(30)).measure(branch_listing)
    assert judge_branch_cache(surveyed, listing).severity is Severity.ok
    hg("-R", path, "branches")
    assert examined(path).branch_cache == BranchCache(11, writable=True)


def test_branches_are_timed_and_nothing_is_written(instance: Path, tmp_path: Path) -> None:
    path = instance.parent / "repos" / "hg-one"
    shutil.rmtree(str(path / ".hg" / "cache"))
    # Its own configuration is not obeyed: this would fail.
    (path / ".hg" / "hgrc").write_text(
        "[extensions]\nnone = /nowhere.py\n[hooks]\npre-debug = false\n"
    )
    before = sorted((str(file), file.lstat().st_mtime_ns) for file in path.rglob("*"))
    place = tmp_path / "scratch"
    place.mkdir()
    times = child.call(list_branches, 30, path=str(path), directory=str(place), within=5)
    assert len(times) == 3 and min(times) > 0
    assert sorted((str(file), file.lstat().st_mtime_ns) for file in path.rglob("*")) == before
