"""Every check has a page, and the page's numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kallithea_tune
from kallithea_tune.perf_check import pages
from kallithea_tune.perf_check.model import Check, all_checks

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
