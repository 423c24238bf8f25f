"""The remedies of caches, sessions and archives, carried out as they are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence

import beaker_tools
import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.caching import (
    cache_effect_checks,
    regions_checks,
    sessions_checks,
)
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.storage import archives_checks

CHECKS = (
    regions_checks.memory_growth,
    regions_checks.memory_shared,
    regions_checks.regions,
    regions_checks.data_dir,
    sessions_checks.visibility,
)
REGIONS = "beaker.cache.regions = long_term,long_term_file"
FILE = "long_term_file.type = file"
MEMORY = "long_term_file.type = memory"
SESSION = "session.key = "


def bad(ini: Path, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    context = Context(load(str(ini)), Deadline(60))
    return [
        found
        for check in checks
        for found in check.findings(context)
        if found.severity is not Severity.ok
    ]


@pytest.mark.parametrize(
    "edits, said",
    [
        ([(REGIONS, "beaker.cache.regions = long_term")], "used by the code but not configured"),
        (
            [(REGIONS, REGIONS + ",short\nbeaker.cache.short.type = file")],
            "the application does not use",
        ),
        ([(FILE, "long_term_file.type = files")], "no cache type"),
        ([(FILE, "long_term_file.type = ext:google")], "does not work"),
        ([(FILE, MEMORY)], "grows with each push"),
        (
            [(FILE, MEMORY), ("egg:waitress", "egg:gunicorn"), ("threads = 1\n", "workers = 4\n")],
            "each of 4 processes renders",
        ),
        ([("long_term_file.expire = ", "long_term_file.expires = ")], "ignores the option"),
        ([("beaker.cache.long_term_file.expire = 604800", "")], "never expire"),
        ([("beaker.cache.data_dir = %(here)s/data", "beaker.cache.data_dir = %(here)s/fast")], ""),
        ([(SESSION, f"session.type = memory\n{SESSION}")], "restart signs everybody out"),
        ([(SESSION, f"session.type = nonsense\n{SESSION}")], "every page fails"),
        ([(SESSION, f"session.type = ext:google\n{SESSION}")], "does not work"),
        ([(SESSION, f"beaker.cache.short.type = file\n{SESSION}")], "does not list"),
    ],
)
def test_what_is_wrong_in_the_settings_is_gone_after_the_remedy(
    instance: Path,
    edit: Callable[[Path, str, str], None],
    edits: Sequence[tuple[str, str]],
    said: str,
) -> None:
    for old, new in edits:
        edit(instance, old, new)
    found = bad(instance)
    assert any(said in item.diagnosis for item in found), found
    # What one remedy has set right already has nothing left to change.
    while found:
        carry_out(found[0].remedy, instance)
        left = bad(instance)
        assert len(left) < len(found)
        found = left


def test_stale_feeds_are_gone_after_the_remedy(visited: Path, instance: Path) -> None:
    beaker_tools.take_data(visited, instance)
    (found,) = bad(instance, [cache_effect_checks.feed_key])
    assert found.severity is Severity.warning
    namespaces = list((instance.parent / "data" / "cache").rglob("*.cache"))
    # The copied instance serves from another path, so its own feed is still to be cached.
    carry_out(found.remedy, instance)
    assert bad(instance, [cache_effect_checks.feed_key]) == []
    left = list((instance.parent / "data" / "cache").rglob("*.cache"))
    assert len(left) == len(namespaces) - 1
    beaker_tools.visit(instance, "/hg-one/feed/atom")


def test_archives_are_kept_after_the_remedy(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "archive_cache_dir =", "#archive_cache_dir =")
    (found,) = bad(instance, [archives_checks.kept_archives])
    carry_out(found.remedy, instance)
    assert not any(
        item.subject == "kept" for item in bad(instance, [archives_checks.kept_archives])
    )
