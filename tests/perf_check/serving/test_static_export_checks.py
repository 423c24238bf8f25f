"""WEB009 in tables, and with a real export of a real instance."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from carry_out import carry_out
from environment import BIN

from kallithea_tune.app.package import kallithea_version, title
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Command
from kallithea_tune.perf_check.serving.static_export import PublishedExport
from kallithea_tune.perf_check.serving.static_export_checks import judge_export, static_export_stale
from kallithea_tune.static_export.release import publish
from kallithea_tune.static_export.release.freshness import Differences, State
from kallithea_tune.static_export.release.integrity import Damage
from kallithea_tune.static_export.release.manifest import Manifest, Recipe
from kallithea_tune.static_export.release.plan import Served, make
from kallithea_tune.static_export.sources.collect import collect

SAME = Differences([], [], [])
MANIFEST = Manifest("kallithea", "0.7.0", Recipe(), {})


@pytest.mark.parametrize(
    "state, severity, words",
    [
        (
            State(MANIFEST, "0.7.0", Recipe(), False, SAME, {}),
            Severity.ok,
            "are those of the application",
        ),
        (
            State(MANIFEST, "0.8.0", Recipe(), False, SAME, {}),
            Severity.error,
            "it is from 0.7.0, but 0.8.0 is installed",
        ),
        (
            State(MANIFEST, "0.7.0", Recipe(), True, SAME, {}),
            Severity.error,
            "the application is another one, or has moved",
        ),
        (
            State(MANIFEST, "0.7.0", Recipe(), False, Differences(["a"], ["b", "c"], []), {}),
            Severity.error,
            "1 new, 2 changed",
        ),
        (
            State(MANIFEST, "0.7.0", Recipe(), False, SAME, {"a": Damage.content}),
            Severity.error,
            "1 damaged",
        ),
        (
            None,
            Severity.error,
            "[kallithea_tune] points at /srv/static, but no static files are published there",
        ),
    ],
)
def test_any_difference_is_an_error(state: Optional[State], severity: Severity, words: str) -> None:
    finding = judge_export(PublishedExport("/srv/static", state, "run it"))
    assert (finding.severity, finding.remedy) == (
        severity,
        "" if severity is Severity.ok else "run it",
    )
    assert words in finding.diagnosis


@pytest.fixture
def exported(
    instance: Path, tmp_path: Path, edit: Callable[[Path, str, str], None]
) -> Callable[[], Finding]:
    """Export files for an instance; return a function that runs the check."""
    public = tmp_path / "public"
    (public / "css").mkdir(parents=True)
    (public / "css" / "style.css").write_text("a {}\n" * 100)
    place = tmp_path / "static"
    app, version = title("egg:kallithea"), kallithea_version()
    recipe = Recipe(codings=("gzip", "br"))
    publish.publish(
        make(None, Served(app, version, (str(public),), collect([str(public)], {})), recipe),
        str(place),
    )
    edit(instance, "[app:main]\n", "[kallithea_tune]\nstatic_export = ../static\n\n[app:main]\n")

    def run() -> Finding:
        context = Context(load(str(instance)), Deadline(10))
        (finding,) = static_export_stale.findings(context)
        return finding

    return run


def test_a_fresh_export_is_ok_and_an_upgrade_makes_it_stale(
    exported: Callable[[], Finding], tmp_path: Path
) -> None:
    assert exported().severity is Severity.ok
    (tmp_path / "public" / "css" / "style.css").write_text("b {}\n" * 100)
    (tmp_path / "public" / "css" / "new.css").write_text("")
    finding = exported()
    assert finding.severity is Severity.error and "1 new, 1 changed" in finding.diagnosis
    instance = tmp_path / "instance" / "my.ini"
    words = f"static-export {instance.parent}/../static --compress gzip,br -c {instance}"
    assert str(finding.remedy) == f"{BIN / 'gearbox'} {words}"
    shutil.rmtree(str(tmp_path / "public"))
    assert "the application is another one, or has moved" in exported().diagnosis


def test_what_happened_to_the_release_is_an_error_and_so_is_a_file_put_there(
    exported: Callable[[], Finding], tmp_path: Path
) -> None:
    (tmp_path / "static" / "css" / "style.css.gz").chmod(0o600)
    (tmp_path / "static" / "more").symlink_to("css")
    finding = exported()
    assert "2 damaged" in finding.diagnosis and isinstance(finding.remedy, Command)
    (tmp_path / "static" / "mine.txt").write_text("mine")
    finding = exported()
    assert "3 damaged" in finding.diagnosis
    assert str(finding.remedy).startswith(
        "move the added files, mine.txt, into an --overlay directory, then run "
    )


def test_a_copy_in_place_of_the_link_is_an_error(
    exported: Callable[[], Finding], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(str(tmp_path / "static"), str(copy))
    (tmp_path / "static").unlink()
    copy.rename(tmp_path / "static")
    finding = exported()
    assert finding.severity is Severity.error and "it is a copy instead" in finding.diagnosis
    assert str(finding.remedy).startswith("move the copy away")


def test_an_export_that_is_gone_is_an_error(
    exported: Callable[[], Finding], tmp_path: Path
) -> None:
    (tmp_path / "static").unlink()
    assert exported().severity is Severity.error


def test_what_cannot_be_read_is_unknown(exported: Callable[[], Finding], tmp_path: Path) -> None:
    (tmp_path / "static" / ".kallithea-tune.json").write_text("{}")
    with pytest.raises(NotMeasured, match="damaged"):
        exported()


def test_without_the_option_nothing_is_measured(instance: Path) -> None:
    (finding,) = static_export_stale.findings(Context(load(str(instance)), Deadline(10)))
    assert finding.severity is Severity.ok and "configures no static export" in finding.diagnosis


@pytest.mark.once
def test_the_remedy_publishes_what_is_installed(
    gearbox: Callable[..., Any],
    instance: Path,
    edit: Callable[[Path, str, str], None],
    front_end: Path,
    tmp_path: Path,
) -> None:
    overlay, place = tmp_path / "overlay", tmp_path / "static"
    shutil.copytree(str(front_end), str(overlay))
    done = gearbox("static-export", "-c", instance, place, "--overlay", overlay)
    assert done.returncode == 0, done.stderr
    edit(instance, "[app:main]\n", f"[kallithea_tune]\nstatic_export = {place}\n\n[app:main]\n")

    def finding() -> Finding:
        (found,) = static_export_stale.findings(Context(load(str(instance)), Deadline(10)))
        return found

    assert finding().severity is Severity.ok
    (overlay / "new.css").write_text("a {}")
    stale = finding()
    assert stale.severity is Severity.error
    carry_out(stale.remedy, instance)
    assert finding().severity is Severity.ok
