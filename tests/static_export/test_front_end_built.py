"""A front-end that was not built after an upgrade or a downgrade is found, and no other one."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from servers.application import BIN, QUIET

from kallithea_tune.static_export.sources.front_end import FrontEnd, judge

STYLES = {"style.less": "a {}", "main.less": "@import 'style.less';"}
MODULES = {"jquery": "3.4.1"}


def front_end(styles=STYLES, modules=MODULES, older=False):
    return FrontEnd(styles, modules, STYLES, MODULES, older)


@pytest.mark.parametrize(
    ("found", "published", "wrong"),
    [
        (front_end(), False, ""),
        # Only the time says so, as after a second installation of the same version.
        (front_end(older=True), False, ""),
        # The map has no sheet that contributes nothing.
        (front_end({"style.less": "a {}"}), False, ""),
        (front_end({"style.less": "b {}"}), False, "built from another style.less"),
        (front_end({"style.less": "b {}"}), True, "built from another style.less"),
        (front_end({**STYLES, "gone.less": ""}), False, "built from another gone.less"),
        (front_end(modules={"jquery": "3.3.0"}), False, "jquery 3.3.0 instead of 3.4.1"),
        (front_end(modules={"other": "1"}), False, "jquery none instead of 3.4.1"),
        (front_end({}, {}), False, ""),
        (front_end({}, {}, older=True), False, "older than the package"),
        (front_end({}, {}, older=True), True, ""),
    ],
)
def test_a_build_is_judged_by_what_it_was_made_of(found, published, wrong):
    assert wrong in judge(found, published) and bool(wrong) is bool(judge(found, published))


@pytest.fixture
def own(built, pristine, tmp_path):
    """Run gearbox with a Kallithea that the test may spoil, its `package`; return what it said."""
    path = tmp_path / "path"
    subprocess.run(["cp", "-a", str(built), str(path)], check=True)
    ini = tmp_path / "my.ini"
    place = tmp_path / "static"
    text = (pristine / "my.ini").read_text().replace("%(here)s", str(pristine))
    ini.write_text(f"{text}\n[kallithea_tune]\nstatic_export = {place}\n")

    def call(*words):
        result = subprocess.run(
            [str(BIN / "gearbox"), *map(str, words), "-c", str(ini)],
            cwd=str(path),
            env={
                **QUIET,
                "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        return result.returncode, " ".join(result.stdout.split())

    call.package, call.place = path / "kallithea", place
    return call


@pytest.mark.once
def test_a_forgotten_build_is_found_and_nothing_else_is_taken_for_one(own):
    export = ("static-export", own.place, "--compress", "")
    map = own.package / "public" / "css" / "style.css.map"
    document = json.loads(map.read_text())
    document["sources"] += ["../../front-end/theme.less", "../../front-end/colours.less"]
    document["sourcesContent"] += ["/* built */", "/* built */"]
    map.write_text(json.dumps(document))
    (own.package / "front-end" / "theme.less").write_text("@navbar-inverse-bg: red;\n")
    (own.package / "front-end" / "colours.less").write_text("@of-the-theme: red;\n")
    status, text = own(*export)
    assert status == 0, text
    # The build is old, as files of reproducible packages are; the theme has been edited since.
    for path in (own.package / "public").rglob("*.css"):
        os.utime(str(path), (0, 0))
    for more in ((), ("--check",)):
        status, text = own(*export, *more)
        assert status == 0, text
    # As pip leaves it: the sources of another version, with the styles built before.
    with (own.package / "front-end" / "style.less").open("a") as file:
        file.write(".of-the-next-version { color: red }\n")
    reason = "css/style.css was built from another style.less"
    status, text = own(*export, "--check")
    assert status == 1 and reason in text and "kallithea-cli front-end-build && " in text
    status, text = own("perf-check", "--only", "WEB009")
    assert status == 1 and "the front-end was not built for the installed version" in text
    assert "kallithea-cli front-end-build" in text
    status, text = own(*export)
    assert status == 3 and reason in text and "run kallithea-cli front-end-build first" in text
