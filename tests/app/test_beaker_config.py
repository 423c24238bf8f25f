"""What we make of the settings is what the application makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional

import beaker_tools
import pytest
from beaker.session import SessionObject
from beaker.util import coerce_session_params

from kallithea_tune.app import beaker_config
from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured


def set_options(ini: Path, options: str) -> Path:
    """Put lines into the application's section."""
    text = ini.read_text()
    ini.write_text(text.replace("beaker.cache.regions = ", options + "\nbeaker.cache.regions = "))
    return ini


@pytest.mark.parametrize(
    "options",
    [
        "",
        "cache.data_dir = %(here)s/elsewhere\n"
        "beaker.cache.long_term_file.lock_dir = %(here)s/locks\n"
        "cache.enabled = false\nbeaker.cache.expire = 60\n"
        "beaker.cache.long_term_file.enabled = true",
    ],
)
def test_the_regions_are_those_that_the_application_has(instance: Path, options: str) -> None:
    set_options(instance, options)
    assert beaker_config.regions(load(str(instance)).settings) == beaker_tools.visit(instance)


def test_what_beaker_refuses_is_said_in_its_words(instance: Path) -> None:
    set_options(instance, "beaker.cache.expire = soon")
    with pytest.raises(ValueError, match="expire must be an integer"):
        beaker_config.regions(load(str(instance)).settings)


def test_the_functions_that_cache_are_found_and_so_are_their_files(visited: Path) -> None:
    uses = beaker_config.uses([package_directory()])
    assert [(use.region, use.function) for use in uses] == [
        ("long_term", "user_attr_or_none"),
        ("long_term_file", "_get_feed_from_cache"),
        ("long_term_file", "_get_readme_from_cache"),
    ]
    regions = beaker_config.regions(load(str(visited)).settings)
    expected = {
        use.file(regions[use.region]["data_dir"]) for use in uses if use.region == "long_term_file"
    }
    assert {str(path) for path in (visited.parent / "data" / "cache").rglob("*.cache")} == expected


@pytest.mark.parametrize(
    "code, found",
    [
        ("@cache_region('short', 'key')\ndef one(): pass\n", [("short", "one")]),
        (
            "import beaker.cache\n@beaker.cache.cache_region('short')\ndef one(): pass\n",
            [("short", "one")],
        ),
        ("class A:\n    @cache_region('short')\n    def one(self): pass\n", [("short", "one")]),
        ("@cache_region(NAME)\ndef one(): pass\n", []),
        ("# cache_region('short')\ndef one(): pass\n", []),
        ("def broken(:\n    cache_region('short')\n", []),
    ],
)
def test_decorators_are_read_from_the_source(
    tmp_path: Path, code: str, found: list[tuple[str, str]]
) -> None:
    (tmp_path / "module.py").write_text(code)
    assert [(use.region, use.function) for use in beaker_config.uses([str(tmp_path)])] == found


def test_options_of_a_backend_are_those_that_its_class_takes() -> None:
    file = beaker_config.accepted_options("file")
    assert (
        file
        and {"data_dir", "lock_dir", "expire", "digest_filenames"} <= file
        and "timeout" not in file
    )
    assert beaker_config.accepted_options("nonsense") is None
    with pytest.raises(NotMeasured, match="google.appengine"):
        beaker_config.accepted_options("ext:google")


@pytest.mark.parametrize(
    "settings, kind, directory",
    [
        ({}, "memory", None),
        ({"cache_dir": "/d"}, "file", "/d/sessions"),
        ({"cache_dir": "/d", "session.data_dir": "/s"}, "file", "/s"),
        ({"cache_dir": "/d", "session.type": "memory"}, "memory", None),
        ({"cache_dir": "/d", "session.type": "dbm"}, "dbm", "/d/sessions"),
    ],
)
def test_sessions_are_stored_as_beaker_stores_them(
    settings: Mapping[str, str], kind: str, directory: Optional[str], tmp_path: Path
) -> None:
    assert beaker_config.session_type(settings) == kind
    assert beaker_config.session_directory(settings) == directory
    # What TurboGears2 hands to Beaker.
    data_dir = settings.get("session.data_dir") or settings.get("cache_dir")
    options = coerce_session_params(
        {
            "type": settings.get("session.type"),
            "data_dir": str(tmp_path) if data_dir else None,
            "key": "k",
        }
    )
    session = SessionObject({}, **options)
    session["a"] = 1
    assert session.__dict__["_sess"].type == kind
