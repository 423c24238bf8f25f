#!/bin/sh
# The tests that need neither an instance nor a server, on the oldest Python; with arguments, those of pytest in one
# process. "make test" runs them on every Python.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh

versions=$(each_python)
version=${versions%%[!0-9.]*}
[ -n "$version" ] || { echo "Install Python 3.8 or 3.11 to run the tests." >&2; exit 1; }
test_venvs "$version"
[ $# != 0 ] || set -- -n logical --maxprocesses 4
exec ".venv-test-$version/bin/python" -m pytest -m unit --timeout 900 "$@"
