#!/bin/sh
# ruff, mypy --strict and the documentation without a warning, in an environment of their own.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

python=$(newest_python) || { echo "The linters need Python 3.9 or newer." >&2; exit 1; }
plain_venv "$python" .venv-lint lint,docs
.venv-lint/bin/ruff check .
.venv-lint/bin/mypy
.venv-lint/bin/sphinx-build -q -W -n -b html docs docs/_build/html
