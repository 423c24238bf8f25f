#!/bin/sh
# The documentation as HTML, without a warning.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

lint_venv
.venv-lint/bin/sphinx-build -q -W -n -b html docs docs/_build/html
