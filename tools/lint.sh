#!/bin/sh
# ruff and mypy --strict, in an environment of their own.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

lint_venv
.venv-lint/bin/ruff check .
.venv-lint/bin/ruff format --check --quiet .
.venv-lint/bin/mypy
