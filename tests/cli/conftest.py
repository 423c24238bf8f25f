"""The command as an admin runs it, with checks of a third party whose findings the ini file
decides.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Sequence

import pytest
from environment import BIN

TOYS = '''
import time
from dataclasses import dataclass
from typing import Any

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Examined, configuration, measurement
from kallithea_tune.perf_check.model import Finding, Severity, check


@dataclass(frozen=True)
class Toy:
    seen: Any = None
    examined: Examined = Examined(1, 1, "toy")


@check("TOY001", "toy-level", "What the settings say of the toy", "toys",
       measures=(configuration,), tags=("config",))
def level(configuration):
    """Say what toy_level says.

    The second paragraph.
    """
    settings = configuration.instance.settings
    cost = float(settings.get("toy_cost", "0"))
    yield Finding(
        Severity[settings.get("toy_level", "ok")],
        "the bear is " + settings.get("toy_words", "well"),
        subject="bear", evidence={"size_mb": 3.0}, threshold="1 MB", source="our judgement",
        remedy="set toy_level = ok", impact_ms=cost or None, impact_per="game")


@measurement()
def doll(context):
    if context.instance.settings.get("toy_hidden"):
        raise NotMeasured("it hides")
    return Toy()


@check("TOY002", "toy-blind", "A toy that cannot be seen", "toys", measures=(doll,))
def blind(doll):
    """Look away where toy_hidden says so."""
    yield Finding(Severity.ok, "the doll is there", subject="doll")


@measurement(seconds=2.0)
def train(context):
    share = context.deadline.left
    while not context.deadline.passed:
        time.sleep(0.01)
    return Toy(share)


@check("TOY003", "toy-slow", "A toy that takes its time", "toys", measures=(train,), tags=("slow",))
def slow(train):
    """Use all the time there is."""
    yield Finding(Severity.ok, "the train has arrived", evidence={"share_s": train.seen})


@check("TOY004", "toy-broken", "A toy that breaks", "toys", measures=(configuration,))
def broken(configuration):
    """Break where toy_breaks says so, in the middle."""
    settings = configuration.instance.settings
    yield Finding(
        Severity.advice, "the car runs", subject="car", impact_ms=20.0, impact_per="game")
    if settings.get("toy_breaks"):
        raise RuntimeError(settings["toy_breaks"])
'''


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Install a module of checks, with its entry point, in a directory for PYTHONPATH."""

    def toy(name: str, source: str, group: str = "kallithea_tune.checks") -> Path:
        site = tmp_path / "site"
        info = site / (f"{name}-1.0.dist-info")
        info.mkdir(parents=True)
        (site / (name + ".py")).write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")
        return site

    return toy


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment variables with which what is in tmp_path/site is installed."""
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def perf_check(environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Run ``gearbox perf-check`` behind the words of `before`; its output may go elsewhere."""

    def run(
        *words: object,
        before: Sequence[str] = (),
        env: Any = (),
        stdin: Any = None,
        stdout: Any = subprocess.PIPE,
        timeout: float = 300,
    ) -> Any:
        closed = None
        if stdout == "closed pipe":
            reading, stdout = os.pipe()
            os.close(reading)
            closed = stdout
        command = [*before, str(BIN / "gearbox"), "perf-check", *map(str, words)]
        try:
            return subprocess.run(
                command,
                cwd=str(tmp_path),
                env={**environment, **dict(env)},
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                timeout=timeout,
            )
        finally:
            if closed:
                os.close(closed)

    return run


@pytest.fixture
def without_privileges() -> list[str]:
    """What to put before a command so that permissions count: root without the right to ignore
    them.
    """
    return (
        ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    )


@pytest.fixture
def toys(instance: Path, install: Any) -> Callable[..., Path]:
    """Install the toy checks; return a function that sets options of the application and gives the
    ini file.
    """
    install("toys", TOYS)

    def configure(**settings: str) -> Path:
        lines = "".join("{} = {}\n".format(*item) for item in settings.items())
        text = instance.read_text()
        instance.write_text(text.replace("[app:main]\n", "[app:main]\n" + lines, 1))
        return instance

    return configure


@pytest.fixture
def export(
    gearbox: Callable[..., Any], instance: Path, front_end: Path, tmp_path: Path
) -> Callable[..., Any]:
    """Run the command on the instance, into tmp_path/static."""

    def call(*words: object, before: Sequence[str] = (), **options: Any) -> Any:
        return gearbox(
            *before,
            "static-export",
            "-c",
            instance,
            tmp_path / "static",
            "--overlay",
            front_end,
            *words,
            cwd=str(tmp_path),
            **options,
        )

    return call
