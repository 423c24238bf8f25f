#!/bin/sh
# Installs what the tests need where it is missing, then runs everything on each Kallithea set there is a Python for.
# With arguments: those tests alone that they, pytest's own, choose, in one process.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh
. tools/packages.sh

begun=$(date +%s)
debian_packages git gcc sqlite3 postgresql mariadb-server libmariadb-dev pkg-config rabbitmq-server redis-server \
    apache2 caddy haproxy lighttpd lighttpd-mod-openssl lighttpd-modules-lua nginx libnginx-mod-http-brotli-static ca-certificates openssl strace systemd \
    uwsgi-core uwsgi-plugin-python3 chromium chromium-driver man-db mandoc bindfs
# It may have come with another Node.js than Debian's.
command -v npm >/dev/null || debian_packages npm
versions=$(each_python)
[ -n "$versions" ] || { echo "Install Python 3.8 or 3.11 to run the tests." >&2; exit 1; }
[ $# != 0 ] || (lint_venv) &
linters=$!
test_venvs $versions
wait $linters
if [ $# = 0 ]; then
    exec ".venv-test-${versions%%[!0-9.]*}/bin/python" tools/suite.py $(($(date +%s) - begun)) $versions
fi
once=""
for version in $versions; do
    status=0
    ".venv-test-$version/bin/python" -m pytest --timeout 900 ${once:+-m "not once"} "$@" || status=$?
    # Nothing is left (5) where the first Python was enough.
    [ $status = 0 ] || [ "$once$status" = done5 ] || exit $status
    once=done
done
