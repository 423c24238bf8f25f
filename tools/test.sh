#!/bin/sh
# Installs what the tests need where it is missing, then runs the whole suite on each Kallithea set there is a Python for.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh
. tools/packages.sh

sh tools/lint.sh
debian_packages git gcc postgresql mariadb-server libmariadb-dev pkg-config rabbitmq-server \
    apache2 caddy haproxy lighttpd lighttpd-mod-openssl lighttpd-modules-lua nginx libnginx-mod-http-brotli-static openssl strace \
    uwsgi-core uwsgi-plugin-python3 chromium chromium-driver
# It may have come with another Node.js than Debian's.
command -v npm >/dev/null || debian_packages npm
ran="" once=""
for version in 3.8 3.11; do
    case $version in 3.8) set="Kallithea's own pins" ;; *) set="newer versions" ;; esac
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "Python $version is not here: the suite is not run on $set."
        continue
    fi
    kallithea_venv "$python" ".venv-test-$version" test
    echo "== Kallithea 0.7.0 on Python $version"
    # Real servers on a busy machine may be late once; what fails three times in a row is broken. pytest names each rerun.
    ".venv-test-$version/bin/python" -m pytest --reruns 2 --reruns-delay 5 --timeout 900 ${once:+-m "not once"} "$@"
    once=done
    ran="${ran:+$ran and }$set (Python $version)"
done
[ -n "$ran" ] || { echo "Install Python 3.8 or 3.11 to run the tests." >&2; exit 1; }
echo "The suite ran on $ran."
