"""What the settings have workers load and accept."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Sequence

import pytest
from carry_out import carry_out
from environment import BIN
from servers.pair import set_in

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.celery.remote_control_checks import TASKS, pickled, plug_in
from kallithea_tune.perf_check.measurement import Context, Deadline, OnRequest
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.remedy import IniEdit

PLUG_IN = "kallithea_tune.fleet"


def found(ini: Path, check: Check, fleet: bool = True) -> Sequence[Finding]:
    """Judge an ini file, requested with --fleet or not."""
    context = Context(load(str(ini)), Deadline(60), on_request=OnRequest(fleet=fleet))
    return list(check.findings(context))


def severities(findings: Sequence[Finding]) -> "list[Severity]":
    return [finding.severity for finding in findings]


def test_without_fleet_nobody_is_told_to_load_anything(instance: Path) -> None:
    set_in(instance, use_celery="true")
    assert not found(instance, plug_in, fleet=False)
    assert severities(found(instance, plug_in)) == [Severity.warning]
    set_in(instance, use_celery="false")
    assert not found(instance, plug_in) and not found(instance, pickled)


def test_the_module_is_set_and_kallithea_reads_it_with_its_own_tasks(instance: Path) -> None:
    set_in(instance, use_celery="true")
    (missing,) = found(instance, plug_in)
    carry_out(missing.remedy, instance)
    assert severities(found(instance, plug_in)) == [Severity.ok]
    include, *imports = _loaded(instance)
    assert include == PLUG_IN and imports == sorted(TASKS)


def test_a_module_of_the_admin_stays_and_is_to_import_ours(instance: Path) -> None:
    set_in(instance, use_celery="true", celery__include="own.module")
    (finding,) = found(instance, plug_in)
    assert str(finding.remedy) == (
        f"celery.include takes one module: import {PLUG_IN} in own.module"
    )
    assert not isinstance(finding.remedy, IniEdit)


@pytest.mark.parametrize("fleet", [False, True])
def test_imports_that_replace_kallitheas_are_an_error_at_all_times(
    instance: Path, fleet: bool
) -> None:
    set_in(instance, use_celery="true", celery__imports=PLUG_IN)
    lost = found(instance, plug_in, fleet)[0]
    assert lost.severity is Severity.error and "kallithea.model.async_tasks" in lost.diagnosis
    assert _loaded(instance) == ["None", PLUG_IN]
    carry_out(lost.remedy, instance)
    assert _loaded(instance) == ["None", *sorted(TASKS)]
    assert Severity.error not in severities(found(instance, plug_in, fleet))


def test_imports_that_add_to_kallitheas_are_fine(instance: Path) -> None:
    set_in(instance, use_celery="true", celery__imports=" ".join([*TASKS, PLUG_IN]))
    assert severities(found(instance, plug_in)) == [Severity.ok]


@pytest.mark.parametrize(
    "accepted, left",
    [
        ("json pickle", "json"),
        ("pickle", None),
        ("json application/x-python-serialize", "json"),
        ("PICKLE json yaml", "json yaml"),
    ],
)
def test_pickle_is_an_error_and_its_removal_leaves_the_rest(
    instance: Path, accepted: str, left: Any
) -> None:
    set_in(instance, use_celery="true", celery__accept_content=accepted)
    (finding,) = found(instance, pickled, fleet=False)
    assert finding.severity is Severity.error
    carry_out(finding.remedy, instance)
    assert load(str(instance)).settings.get("celery.accept_content") == left
    assert severities(found(instance, pickled)) == [Severity.ok]


def _loaded(ini: Path) -> "list[str]":
    """Return what Kallithea gives Celery to include, and to import."""
    code = (
        "import sys, kallithea.lib.celery_app as app; from paste.deploy import appconfig;"
        "config = app.make_celery_config(appconfig('config:' + sys.argv[1]));"
        "imports = config.imports if hasattr(config, 'imports') else [];"
        "print(getattr(config, 'include', None), *sorted(imports))"
    )
    return subprocess.run(
        [str(BIN / "python"), "-c", code, str(ini)],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout.split()
