import os
import sys

sys.path.insert(0, os.path.abspath(".."))
sys.path.insert(0, os.path.abspath("../tools"))
from pathlib import Path  # noqa: E402

import reference_pages  # noqa: E402

from kallithea_tune import __version__  # noqa: E402
from kallithea_tune.perf_check.model import all_checks  # noqa: E402
from kallithea_tune.perf_check.pages import page  # noqa: E402

project = "kallithea_tune"
copyright = "the kallithea_tune developers, GPL-3.0-or-later"
version = release = __version__
extensions: list = []
html_theme = "furo"
html_title = f"kallithea_tune {__version__}"
html_show_sourcelink = False
exclude_patterns = ["_build"]
nitpicky = True
# Wide enough for commands of 100 characters; furo's own 46em are for prose.
html_static_path = ["_static"]
html_css_files = ["wide.css"]
pygments_style = "default"
pygments_dark_style = "monokai"


def write_changed(generated: Path, text: str) -> None:
    """Write a page, unless it is there as it is: Sphinx reads again what is newer."""
    if not generated.exists() or generated.read_text(encoding="utf-8") != text:
        generated.write_text(text, encoding="utf-8")


here = Path(__file__).parent
# The page of a check lies beside the check; here it gets its constants.
for check in all_checks():
    write_changed(here / "checks" / f"{check.id}.rst", page(check))
# The options are those of the parsers.
for name, text in reference_pages.pages():
    write_changed(here / "reference" / name, text)
