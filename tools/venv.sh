# Sourced: finds Pythons and makes virtual environments; what was made from the same files is kept as it is.

# usage: find_python 3.11; prints the path of a Python of just that version that can make virtual environments.
find_python() {
    # pyenv's shims answer for versions that are not active, so each candidate is asked to run.
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

newest_python() {
    for version in 3.13 3.12 3.11 3.10 3.9; do
        found=$(find_python "$version")
        [ -z "$found" ] || { echo "$found"; return; }
    done
    return 1
}

# usage: made_from VERSION EXTRAS; prints what decides about an environment.
made_from() {
    echo "$1 $2 $(cat setup.cfg constraints/*.txt tools/venv.sh | cksum)"
}

# usage: fresh_venv PYTHON DIRECTORY WHAT; fails, having done nothing, when the directory was made from the same.
fresh_venv() {
    stamp=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    wanted=$(made_from "$stamp" "$3")
    [ "$(cat "$2/.made-from" 2>/dev/null)" != "$wanted" ] || return 1
    echo "Making $2 with Python $stamp (a few minutes) ..."
    rm -rf "$2"
    # set -e has no effect in a function that is called as a condition.
    "$1" -m venv "$2" || exit 1
}

# usage: plain_venv PYTHON DIRECTORY EXTRAS; holds this package with its extras, and no Kallithea.
plain_venv() {
    fresh_venv "$1" "$2" "$3" || return 0
    "$2/bin/pip" install -q -e ".[$3]"
    echo "$wanted" > "$2/.made-from"
}

# usage: start_by_sh DIRECTORY; changes the scripts whose first line names a Python in a path with a blank, which no
# kernel can start. pip writes its own in this way, but not those that a package brings, such as hg.
start_by_sh() {
    find "$1/bin" -type f -exec env LC_ALL=C sed -i \
        "1s|^#!\(/.* .*/python[0-9.]*\)\$|#!/bin/sh\n'''exec' \"\1\" \"\$0\" \"\$@\"\n' '''|" {} +
}

# usage: kallithea_venv PYTHON DIRECTORY [EXTRAS]; holds Kallithea 0.7.0 and this package with its extras.
kallithea_venv() {
    quiet=""
    fresh_venv "$1" "$2" "$3" || return 0
    case $stamp in
    3.8 | 3.9)
        # Kallithea's own pins; celery 5.0's metadata needs an old pip, Mercurial and others an old setuptools.
        "$2/bin/pip" install -q 'pip<24.1' 'setuptools<58' wheel
        "$2/bin/pip" install -q --no-build-isolation kallithea==0.7.0
        ;;
    *)
        "$2/bin/pip" install -q 'setuptools<70' wheel
        "$2/bin/pip" install -q --no-deps --no-build-isolation \
            -r constraints/kallithea-0.7.0-newer-python.txt kallithea==0.7.0
        # The set is newer than Kallithea asks for, which pip would complain about at length.
        quiet=--no-warn-conflicts
        ;;
    esac
    "$2/bin/pip" install -q $quiet -e ".${3:+[$3]}"
    start_by_sh "$2"
    echo "$wanted" > "$2/.made-from"
}

# usage: each_python; prints the version of every Python here that the tests are meant for.
each_python() {
    for version in 3.8 3.11; do
        if [ -x ".venv-test-$version/bin/python" ] || [ -n "$(find_python "$version")" ]; then
            echo "$version"
        else
            echo "Python $version is not here: nothing is run on it." >&2
        fi
    done
}

# usage: test_venvs VERSION...; makes what is missing of the environments that run the tests, all at the same time.
test_venvs() {
    makers=""
    for version in "$@"; do
        [ "$(cat ".venv-test-$version/.made-from" 2>/dev/null)" != "$(made_from "$version" test)" ] || continue
        (kallithea_venv "$(find_python "$version")" ".venv-test-$version" test) &
        makers="$makers $!"
    done
    for maker in $makers; do
        wait "$maker" || { echo "An environment for the tests could not be made." >&2; exit 1; }
    done
}

# Holds the linters, and what builds the documentation and the package.
lint_venv() {
    python=$(newest_python) || { echo "The linters need Python 3.9 or newer." >&2; exit 1; }
    plain_venv "$python" .venv-lint lint,docs,package
}
