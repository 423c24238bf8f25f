#!/bin/sh
set -e
cd "$(dirname "$0")/.."
. tools/venv.sh
kallithea_venv "${PYTHON:-python3}" .venv
.venv/bin/python tools/make_instance.py demo-instance
.venv/bin/gearbox perf-check -c demo-instance/my.ini || [ $? = 1 ]
