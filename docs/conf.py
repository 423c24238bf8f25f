import os
import sys

sys.path.insert(0, os.path.abspath(".."))
from kallithea_tune import __version__  # noqa: E402

project = "kallithea_tune"
copyright = "the kallithea_tune developers, GPL-3.0-or-later"
version = release = __version__
extensions: list = []
html_theme = "alabaster"
exclude_patterns = ["_build"]
nitpicky = True
# Wide enough for commands of 100 characters.
html_theme_options = {"page_width": "72rem", "sidebar_width": "17rem", "fixed_sidebar": True}
