"""The command as an admin runs it, with checks of a third party whose findings the ini file decides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest

TOYS = '''
import time

from kallithea_tune.checks.model import Finding, Severity, check
from kallithea_tune.errors import NotMeasured


@check("TOY001", "toy-level", "What the settings say of the toy", "toys", tags=("config",))
def level(context):
    """Say what toy_level says.

    The second paragraph.
    """
    told = context.instance.settings
    cost = float(told.get("toy_cost", "0"))
    yield Finding(
        Severity[told.get("toy_level", "ok")], "the bear is " + told.get("toy_words", "well"), subject="bear",
        evidence={"size_mb": 3.0}, threshold="1 MB", source="our judgement", remedy="set toy_level = ok",
        impact_ms=cost or None, impact_per="game")


@check("TOY002", "toy-blind", "A toy that cannot be seen", "toys")
def blind(context):
    """Look away where toy_hidden says so."""
    if context.instance.settings.get("toy_hidden"):
        raise NotMeasured("it hides")
    yield Finding(Severity.ok, "the doll is there", subject="doll")


@check("TOY003", "toy-slow", "A toy that takes its time", "toys", seconds=2.0, tags=("slow",))
def slow(context):
    """Use all the time there is."""
    share = context.deadline.left
    while not context.deadline.passed:
        time.sleep(0.01)
    yield Finding(Severity.ok, "the train has arrived", evidence={"share_s": share})


@check("TOY004", "toy-broken", "A toy that breaks", "toys")
def broken(context):
    """Break where toy_breaks says so, in the middle."""
    yield Finding(Severity.advice, "the car runs", subject="car", impact_ms=20.0, impact_per="game")
    if context.instance.settings.get("toy_breaks"):
        raise RuntimeError(context.instance.settings["toy_breaks"])
'''


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Install a module of checks, with its entry point, in a directory for PYTHONPATH."""

    def toy(name: str, source: str, group: str = "kallithea_tune.checks") -> Path:
        site = tmp_path / "site"
        info = site / ("%s-1.0.dist-info" % name)
        info.mkdir(parents=True)
        (site / (name + ".py")).write_text(source)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % name)
        (info / "entry_points.txt").write_text("[%s]\n%s = %s\n" % (group, name, name))
        return site

    return toy


@pytest.fixture
def perf_check(gearbox: Any, tmp_path: Path) -> Callable[..., Any]:
    """Run ``gearbox perf-check``, with what is in tmp_path/site installed."""

    def run(*words: object, **options: Any) -> Any:
        given = options.pop("env", {})
        path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "PYTHONPATH": path, **given}
        return gearbox("perf-check", *words, cwd=str(tmp_path), env=environment, **options)

    return run


@pytest.fixture
def toys(instance: Path, install: Any) -> Callable[..., Path]:
    """Install the toy checks; return a function that sets options of the application and gives the ini file."""
    install("toys", TOYS)

    def configure(**settings: str) -> Path:
        lines = "".join("%s = %s\n" % item for item in settings.items())
        text = instance.read_text()
        instance.write_text(text.replace("[app:main]\n", "[app:main]\n" + lines, 1))
        return instance

    return configure
