#!/bin/sh
# The archive of the sources and the wheel, in dist, as a package index would judge them.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

lint_venv
rm -rf dist
mkdir dist
# The wheel is built from the archive: what that lacks is missing in both.
.venv-lint/bin/python -m build --outdir dist . >dist/build.log 2>&1 || { cat dist/build.log >&2; exit 1; }
rm dist/build.log
.venv-lint/bin/check-wheel-contents dist/*.whl
.venv-lint/bin/twine check --strict dist/*
# Of 10: a project that has no home page and no address of an author loses two.
.venv-lint/bin/pyroma --min 8 dist/*.tar.gz
