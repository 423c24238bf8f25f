"""Documentation and code name the same checks."""

from __future__ import annotations

from pathlib import Path

from kallithea_tune.perf_check.model import all_checks

PAGES = Path(__file__).resolve().parents[1] / "docs" / "checks"


def test_every_check_has_its_page_and_every_page_its_check():
    ids = {item.id for item in all_checks()}
    pages = {path.stem for path in PAGES.glob("[A-Z]*.rst")}
    assert ids == pages


def test_every_page_is_headed_by_its_id():
    for path in PAGES.glob("[A-Z]*.rst"):
        assert path.read_text(encoding="utf-8").splitlines()[1].startswith(path.stem + ": "), (
            path.name
        )
