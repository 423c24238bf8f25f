"""Which files of a release may be cached for good: what is proven to belong to their version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.application import QUIET

from kallithea_tune.static_export.release import manifest, publish
from kallithea_tune.static_export.release.manifest import Recipe
from kallithea_tune.static_export.release.plan import Served, make
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.verify.lives import judge_life

PROOF = """
import sys
from kallithea_tune.app.package import package_directory
from kallithea_tune.static_export.sources import collect, proof
public, overlays = package_directory() + "/public", sys.argv[2:]
files = collect.collect([public, *overlays], {})
print(*sorted(proof.proven(files, overlays, sys.argv[1], None)))
"""


@pytest.fixture
def release(public, tmp_path):
    """Publish `public` as `version`, the paths `proven` with it; return what lasts."""
    (tmp_path / "www").mkdir()
    place = tmp_path / "www" / "static"

    def call(version="1", proven=("js/base.js",), **recipe):
        before = manifest.read(str(place)) if place.exists() else None
        files = collect([str(public)], before.sources if before else {})
        served = Served("app", version, (str(public),), files, proven=proven)
        plan = make(before, served, Recipe(**recipe))
        if not plan.is_empty:
            publish.publish(plan, str(place))
        call.replaced = plan.replaced
        return {
            str(path.relative_to(place / manifest.LASTING))
            for path in (place / manifest.LASTING).rglob("*")
            if path.is_file()
        }

    call.place = place
    return call


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_what_is_proven_lies_below_its_version_with_its_variants(release, how):
    assert release(how=how) == {"1/js/base.js", "1/js/base.js.gz"}
    for name in ("js/base.js", "js/base.js.gz"):
        lasting = release.place / manifest.LASTING / "1" / name
        assert lasting.is_symlink() is (how == "symlink" and name == "js/base.js")
        assert os.path.samefile(str(lasting), str(release.place / name))


def test_a_url_that_had_two_contents_never_lasts_again(release, public):
    script = public / "js" / "base.js"
    first = script.read_text()
    assert release() == {"1/js/base.js", "1/js/base.js.gz"} and release.replaced == []
    script.write_text("patched();\n" * 100)
    assert release() == set() and release.replaced == ["js/base.js"]
    script.write_text(first)
    assert release() == set()
    # Another version is another URL, and what is gone for a while is not forgotten.
    assert release("2") == {"2/js/base.js", "2/js/base.js.gz"}
    script.unlink()
    assert release("1", proven=()) == set()
    script.write_text(first)
    assert release("1") == set()
    assert release("2") == {"2/js/base.js", "2/js/base.js.gz"}


def test_another_content_while_it_was_not_proven_counts_as_well(release, public):
    script = public / "js" / "base.js"
    first = script.read_text()
    script.write_text("of an overlay();\n" * 100)
    assert release(proven=()) == set()
    script.write_text(first)
    assert release() == set()


def test_what_becomes_proven_is_published_again(release):
    assert release(proven=()) == set()
    assert release() == {"1/js/base.js", "1/js/base.js.gz"}
    assert release(proven=()) == set()


def test_a_manifest_of_an_earlier_version_is_read_and_gives_the_history(release, public):
    release()
    path = Path(os.path.realpath(str(release.place))) / manifest.NAME
    document = json.loads(path.read_text())
    del document["history"]
    for item in document["files"]:
        del item["lasting"]
    path.write_text(json.dumps(document))
    assert manifest.read(str(release.place)).history == {}
    (public / "js" / "base.js").write_text("patched();\n" * 100)
    assert release() == set()


@pytest.fixture
def proven(built, tmp_path):
    """Return what is proven in a Kallithea that the test may spoil: its `package`."""
    package = tmp_path / "path" / "kallithea"
    package.mkdir(parents=True)
    for name in ("__init__.py", "public", "front-end"):
        subprocess.run(["cp", "-a", str(built / "kallithea" / name), str(package)], check=True)

    def call(version="0.7.0", *overlays):
        places = [str(package.parent), os.environ.get("PYTHONPATH", "")]
        result = subprocess.run(
            [sys.executable, "-c", PROOF, version, *map(str, overlays)],
            env={**QUIET, "PYTHONPATH": os.pathsep.join(places)},
            stdout=subprocess.PIPE,
            universal_newlines=True,
            check=True,
        )
        return set(result.stdout.split())

    call.package = package
    return call


def add_module(package, name, version, built, inside):
    """Put a module of npm with a copy of the file `built` where its build would have taken it."""
    module = package / "front-end" / "node_modules" / name
    (module / inside).parent.mkdir(parents=True)
    shutil.copy(str(package / "public" / built), str(module / inside))
    (module / "package.json").write_text(json.dumps({"name": name, "version": version}))


def test_only_what_the_installed_package_or_its_modules_contain_is_proven(proven, tmp_path):
    package = proven.package
    add_module(package, "jquery", "3.4.1", "js/jquery.min.js", "dist/jquery.min.js")
    add_module(package, "bootstrap", "3.3.6", "js/bootstrap.js", "dist/js/bootstrap.js")
    add_module(package, "select2", "3.5.1", "js/select2.js", "select2.js")
    with (package / "public" / "js" / "select2.js").open("a") as file:
        file.write("edited();\n")
    with (package / "public" / "js" / "graph.js").open("a") as file:
        file.write("edited();\n")
    found = proven()
    # Of the package, and of a module at its required version.
    assert {"js/base.js", "images/favicon.ico", "js/jquery.min.js"} <= found
    # Edited; of a module at another version; of a module that is no longer there; themes.
    assert not found & {"js/graph.js", "js/select2.js", "js/bootstrap.js", "js/jquery.flot.js"}
    assert not [path for path in found if path.endswith((".css", ".css.map"))]
    # What may be another build tomorrow.
    assert proven("0.7.0+local") == proven("0.7.99.dev1") == proven("") == set()
    overlay = tmp_path / "overlay"
    (overlay / "js").mkdir(parents=True)
    shutil.copy(str(package / "public" / "js" / "base.js"), str(overlay / "js"))
    assert proven("0.7.0", overlay) == found - {"js/base.js"}
    # The same file of the package, by an overlay at another URL.
    assert "favicon.ico" not in proven("0.7.0", package / "public" / "images")


@pytest.mark.parametrize(
    ("cache_control", "lasting", "wrong"),
    [
        ("public, max-age=31536000, immutable", True, ""),
        ("public, max-age=0, must-revalidate", True, "may not be cached for a month"),
        ("public, max-age=0, must-revalidate", False, ""),
        ("no-cache", False, ""),
        ("no-cache", True, "may not be cached for a month"),
        ("public, max-age=3600", False, "for 3600 s without revalidation"),
        ("max-age=0, s-maxage=60", False, "for 60 s without revalidation"),
        ("public, max-age=31536000, immutable", False, "for 31536000 s without revalidation"),
        ("", False, "browsers guess one (cache-control: none)"),
        ("public", True, "browsers guess one (cache-control: public)"),
    ],
)
def test_a_life_is_judged_by_whether_the_content_can_change(cache_control, lasting, wrong):
    problems = list(judge_life({"cache-control": cache_control}, lasting))
    assert len(problems) == bool(wrong) and all(wrong in problem for problem in problems)
