# Sourced: makes a virtual environment that holds Kallithea 0.7.0, this package and its test tools.
# usage: kallithea_venv PYTHON DIRECTORY [EXTRA]; prints nothing and does nothing when it is there already.

kallithea_venv() {
    python=$1 venv=$2 extra=$3
    stamp=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    wanted="$stamp $extra $(cat pyproject.toml constraints/*.txt tools/venv.sh | cksum)"
    if [ "$(cat "$venv/.made-from" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    echo "Making $venv with Python $stamp (a few minutes) ..."
    rm -rf "$venv"
    "$python" -m venv "$venv"
    case $stamp in
    3.8 | 3.9)
        # Kallithea's own pins; celery 5.0's metadata needs an old pip, Mercurial and others an old setuptools.
        "$venv/bin/pip" install -q 'pip<24.1' 'setuptools<58' wheel
        "$venv/bin/pip" install -q --no-build-isolation kallithea==0.7.0
        ;;
    *)
        "$venv/bin/pip" install -q 'setuptools<70' wheel
        "$venv/bin/pip" install -q --no-deps --no-build-isolation \
            -r constraints/kallithea-0.7.0-newer-python.txt kallithea==0.7.0
        ;;
    esac
    "$venv/bin/pip" install -q -e ".${extra:+[$extra]}"
    echo "$wanted" > "$venv/.made-from"
}
