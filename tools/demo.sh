#!/bin/sh
# A virtual environment with Kallithea 0.7.0, a small real instance, and its first health check.
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh
python=${PYTHON:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
3.8 | 3.9 | 3.10 | 3.11 | 3.12 | 3.13) ;;
*) echo "Kallithea 0.7.0 is known to run on Python 3.8 to 3.13, not on $version; name another: make demo PYTHON=python3.11" >&2
   exit 2 ;;
esac
command -v git >/dev/null || { echo "Install git first: the demo makes Git repositories." >&2; exit 2; }
"$python" -c 'import ensurepip' 2>/dev/null || {
    echo "Install $python's venv module first; on Debian and Ubuntu it is in the package python3-venv." >&2
    exit 2
}
kallithea_venv "$python" .venv
.venv/bin/python tools/make_instance.py demo-instance
# Findings (1) and what could not be measured (5) are results, not failures. A busy machine, such as one that has just
# installed all this, may need more than the default of 60 seconds.
.venv/bin/gearbox perf-check -c demo-instance/my.ini --budget 120 || case $? in 1 | 5) ;; *) exit 1 ;; esac
