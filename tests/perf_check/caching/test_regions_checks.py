"""Regions as the ini file sets them up, against what the code asks for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Mapping, Optional, Sequence

import pytest

from kallithea_tune.perf_check.caching import regions_checks
from kallithea_tune.perf_check.caching.regions import (
    Backend,
    MemoryRegion,
    MemoryRegions,
    RegionSettings,
    recycled,
    region_of,
    stray_options,
)
from kallithea_tune.perf_check.model import Severity

FILE: Mapping[str, Any] = {
    "type": "file",
    "data_dir": "/d",
    "lock_dir": None,
    "enabled": True,
    "expire": 60,
}
ACCEPTED = frozenset({"type", "data_dir", "lock_dir", "enabled", "expire", "key_length"})


@pytest.mark.parametrize(
    "change, functions, accepted, severity, said",
    [
        ({}, ["README"], ACCEPTED, Severity.ok, "complete and in use"),
        ({"type": "fil"}, ["README"], None, Severity.error, "no cache type 'fil'"),
        ({"type": "fil"}, [], None, Severity.advice, "no cache type 'fil'"),
        ({"data_dir": None}, ["README"], ACCEPTED, Severity.error, "no directory is set"),
        ({"type": "memory", "data_dir": None}, ["README"], ACCEPTED, Severity.ok, "complete"),
        (
            {"expires": "60"},
            ["README"],
            ACCEPTED,
            Severity.warning,
            "ignores the option beaker.cache.long.expires",
        ),
        (
            {"type": "ext:redis", "db": "1"},
            ["README"],
            ACCEPTED,
            Severity.ok,
            "complete",
        ),
        ({}, [], ACCEPTED, Severity.advice, "the application does not use"),
        ({"expire": None}, ["README"], ACCEPTED, Severity.warning, "never expire"),
        ({"expire": None, "enabled": False}, ["README"], ACCEPTED, Severity.ok, "complete"),
    ],
)
def test_a_region_is_judged_by_its_options_and_its_users(
    change: Mapping[str, Any],
    functions: Sequence[str],
    accepted: Optional[frozenset[str]],
    severity: Severity,
    said: str,
) -> None:
    region = region_of("long", dict(FILE, **change))
    found = regions_checks.judge_region(
        region,
        functions,
        Backend(accepted),
        RegionSettings(
            section="app:main",
            regions=(region,),
            options={f"beaker.cache.long.{name}": str(value) for name, value in change.items()},
        ),
    )
    assert (found.severity, said in found.diagnosis) == (severity, True), found
    assert bool(found.remedy) == (severity > Severity.unknown)


def test_options_of_regions_that_are_not_listed_are_found() -> None:
    settings = {
        "beaker.cache.a.type": "file",
        "beaker.cache.b.type": "file",
        "beaker.cache.data_dir": "/d",
        "x": "y",
    }
    assert stray_options(settings, ["a"]) == ["beaker.cache.b.type"]


@pytest.mark.parametrize(
    "wanted, severity",
    [
        ("/d/cache/", Severity.ok),
        ("/d/cache/data", Severity.ok),
        ("/fast/cache", Severity.warning),
        ("/dd", Severity.warning),
    ],
)
def test_a_directory_without_effect_matters_where_it_was_to_be_another(
    wanted: str, severity: Severity
) -> None:
    assert regions_checks.judge_data_dir(wanted, "/d/cache", "/d").severity is severity


@pytest.mark.parametrize(
    "functions, processes, recycled, grows, shared",
    [
        (["README"], 1, False, Severity.warning, Severity.ok),
        (["README"], 4, True, Severity.ok, Severity.advice),
        (["README"], None, False, Severity.warning, Severity.unknown),
        (["user_attr_or_none"], 4, False, Severity.ok, Severity.ok),
        (["user_attr_or_none"], None, False, Severity.ok, Severity.ok),
    ],
)
def test_memory_matters_for_what_grows_with_each_push(
    functions: Sequence[str],
    processes: Optional[int],
    recycled: bool,
    grows: Severity,
    shared: Severity,
) -> None:
    region = MemoryRegion("long", tuple(functions))
    memory = MemoryRegions((region,), processes, recycled, "app:main")
    assert regions_checks.judge_memory(region, memory).severity is grows
    assert regions_checks.judge_shared(region, memory).severity is shared


@pytest.mark.parametrize(
    "server, uwsgi, expected",
    [
        ({}, {}, False),
        ({"max_requests": "1000"}, {}, True),
        ({"max_requests": "0"}, {"max-requests": "0"}, False),
        ({}, {"max-requests": "1000"}, True),
        ({}, {"max-worker-lifetime": "3600"}, True),
        ({}, {"reload-on-rss": ""}, False),
    ],
)
def test_the_end_of_workers_is_read_from_the_servers_section(
    server: Mapping[str, str], uwsgi: Mapping[str, str], expected: bool
) -> None:
    instance: Any = SimpleNamespace(server=server, sections={"uwsgi": uwsgi})
    assert recycled(instance) is expected


IDS = ("CAC004", "CAC005", "CAC007", "CAC008", "CAC009")
HEALTHY = {
    ("CAC004", "long_term"): "ok",
    ("CAC005", ""): "ok",
    ("CAC007", "long_term"): "ok",
    ("CAC008", "long_term"): "ok",
    ("CAC008", "long_term_file"): "ok",
    ("CAC009", ""): "ok",
}


def findings(gearbox: Callable[..., Any], ini: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    said = gearbox(
        "perf-check",
        "-c",
        ini,
        *(word for name in IDS for word in ("--only", name)),
        "-f",
        "json",
        cwd=str(ini.parent),
    )
    assert said.returncode in (0, 1, 5), said.stderr
    return {(item["check"], item["subject"]): item for item in json.loads(said.stdout)}


def severities(found: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    return {key: item["severity"] for key, item in found.items()}


def test_the_settings_that_kallithea_makes_are_in_order(
    instance: Path, gearbox: Callable[..., Any]
) -> None:
    assert severities(findings(gearbox, instance)) == HEALTHY


REGIONS = "beaker.cache.regions = long_term,long_term_file"


@pytest.mark.parametrize(
    "old, new, changed",
    [
        (
            REGIONS,
            "beaker.cache.regions = long_term",
            {("CAC008", "long_term_file"): "error", ("CAC008", ""): "advice", ("CAC009", ""): None},
        ),
        (REGIONS, REGIONS + ",super_short", {("CAC008", "super_short"): "advice"}),
        (
            "long_term_file.type = file",
            "long_term_file.type = files",
            {("CAC008", "long_term_file"): "error", ("CAC009", ""): None},
        ),
        (
            "long_term_file.type = file",
            "long_term_file.type = ext:google",
            {("CAC008", "long_term_file"): "error", ("CAC009", ""): None},
        ),
        (
            "long_term_file.type = file",
            "long_term_file.type = memory",
            {
                ("CAC004", "long_term_file"): "warning",
                ("CAC007", "long_term_file"): "ok",
                ("CAC009", ""): None,
            },
        ),
        (
            "long_term_file.expire = 604800",
            "long_term_file.expires = 604800",
            {("CAC008", "long_term_file"): "warning"},
        ),
        (
            "beaker.cache.data_dir = %(here)s/data",
            "beaker.cache.data_dir = %(here)s/fast",
            {("CAC009", ""): "warning"},
        ),
        (
            "beaker.cache.data_dir = %(here)s/data",
            "cache.data_dir = %(here)s/fast",
            {("CAC009", ""): None},
        ),
    ],
)
def test_what_is_wrong_with_the_regions_is_said(
    instance: Path,
    gearbox: Callable[..., Any],
    edit: Callable[..., None],
    old: str,
    new: str,
    changed: Mapping[tuple[str, str], Optional[str]],
) -> None:
    edit(instance, old, new)
    expected = {key: value for key, value in {**HEALTHY, **changed}.items() if value}
    assert severities(findings(gearbox, instance)) == expected


def test_a_setting_that_beaker_refuses_is_one_error_and_the_rest_say_where_to_look(
    instance: Path, gearbox: Callable[..., Any], edit: Callable[..., None]
) -> None:
    edit(instance, "long_term.expire = 36000", "long_term.expire = soon")
    found = findings(gearbox, instance)
    assert found["CAC008", ""]["severity"] == "error"
    assert "expire must be an integer" in found["CAC008", ""]["diagnosis"]
    for name in ("CAC004", "CAC007", "CAC009"):
        assert (
            found[name, ""]["severity"] == "unknown"
            and "see CAC008" in found[name, ""]["diagnosis"]
        )
