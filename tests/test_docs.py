"""Every check has a page, and the page's numbers are the code's."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import kallithea_tune
from kallithea_tune.perf_check import pages
from kallithea_tune.perf_check.model import Check, all_checks

DOCS = Path(__file__).resolve().parents[1] / "docs"
README = (DOCS.parent / "README.rst").read_text(encoding="utf-8")
ROOM = Path(kallithea_tune.__file__).parent / "perf_check"
CHECKS = all_checks()


def test_every_check_has_its_page_beside_it_and_every_page_its_check() -> None:
    there = {(path.parent.name, path.stem) for path in ROOM.glob("*/*.rst")}
    assert there == {(item.area, item.id) for item in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_page_is_headed_by_its_id_and_its_constants_are_there(check: Check) -> None:
    text = pages.page(check)
    assert text.splitlines()[1].startswith(check.id + ": ")
    assert not re.search(r"\|[A-Z_]+%?\|", text)


def test_a_constant_that_is_not_there_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = CHECKS[0]
    (tmp_path / f"{check.id}.rst").write_text("at most |NO_SUCH_CONSTANT| files\n")
    monkeypatch.setattr(pages.inspect, "getfile", lambda function: str(tmp_path / "x.py"))
    with pytest.raises(LookupError, match="no constant NO_SUCH_CONSTANT"):
        pages.page(check)


@pytest.mark.parametrize("command", ["perf-check", "static-export", "db-migrate"])
def test_what_the_readme_shows_is_in_an_output_of_the_tutorial(command: str) -> None:
    printed = {
        line
        for path in (DOCS / "tutorial").glob("*.txt")
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    block = re.search(rf"    gearbox {command} .*\n\n((?:    .+\n)+)", README)
    assert block
    shown = [line[4:] for line in block[1].splitlines()]
    assert len(shown) == 3 and set(shown) <= printed


@pytest.mark.parametrize("page", ["README.rst", "docs/tutorial.rst"])
def test_commands_of_a_page_have_the_options_that_it_gives(page: str) -> None:
    text = (DOCS.parent / page).read_text(encoding="utf-8")
    commands = re.findall(r"(?m)^    gearbox ([a-z-]+)(.*)", text)
    assert {name for name, _ in commands} == {"perf-check", "static-export", "db-migrate"}
    spec = importlib.util.spec_from_file_location(
        "reference_pages", str(DOCS.parent / "tools" / "reference_pages.py")
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, words in commands:
        module.parser_of(name).parse_args(words.split())


@pytest.mark.parametrize("name", sorted(set(re.findall(r"docs/[\w/-]+\.\w+", README))))
def test_a_file_that_the_readme_names_is_there(name: str) -> None:
    assert (DOCS.parent / name).is_file()
