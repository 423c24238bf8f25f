import os
import sys

sys.path.insert(0, os.path.abspath(".."))
from pathlib import Path  # noqa: E402

from kallithea_tune import __version__  # noqa: E402
from kallithea_tune.perf_check.model import all_checks  # noqa: E402
from kallithea_tune.perf_check.pages import page  # noqa: E402

project = "kallithea_tune"
copyright = "the kallithea_tune developers, GPL-3.0-or-later"
version = release = __version__
extensions: list = []
html_theme = "alabaster"
exclude_patterns = ["_build"]
nitpicky = True
# Wide enough for commands of 100 characters.
html_theme_options = {"page_width": "72rem", "sidebar_width": "17rem", "fixed_sidebar": True}

# The page of a check lies beside the check; here it gets its constants.
for check in all_checks():
    generated = Path(__file__).with_name("checks") / f"{check.id}.rst"
    text = page(check)
    if not generated.exists() or generated.read_text(encoding="utf-8") != text:
        generated.write_text(text, encoding="utf-8")
