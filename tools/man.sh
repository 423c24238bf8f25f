#!/bin/sh
# The manual pages in docs/man, which a test compares with the commands' options.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

lint_venv
.venv-lint/bin/python tools/man_pages.py
