#!/bin/sh
# The tests that need neither an instance nor a server, on each Python; with arguments, those of pytest in one process.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

versions=$(each_python)
test_venvs $versions
[ $# != 0 ] || set -- -n logical --maxprocesses 4
for version in $versions; do
    ".venv-test-$version/bin/python" -m pytest -m unit --timeout 900 "$@"
done
