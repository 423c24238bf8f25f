#!/bin/sh
# The Debian package, in dist, from contrib/debian, judged by lintian; whoever builds it is its maintainer.
# usage: DEBFULLNAME="Your Name" DEBEMAIL=you@your.domain debian.sh
set -e
cd "$(dirname "$0")/.."
. tools/packages.sh

[ -n "$DEBFULLNAME" ] && [ -n "$DEBEMAIL" ] || {
    echo "Say who builds the package: DEBFULLNAME=\"Your Name\" DEBEMAIL=you@your.domain make deb" >&2
    exit 2
}
debian_packages build-essential debhelper dh-python lintian pybuild-plugin-pyproject python3-all python3-setuptools
# A package is built with the Python of Debian alone, whichever others come before it here.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' kallithea_tune/__init__.py)
# Debian's own setuptools makes the archive that the package is built from.
PYTHONDONTWRITEBYTECODE=1 python3 setup.py -q sdist --dist-dir "$work" 2>"$work/log" || {
    cat "$work/log" >&2
    exit 1
}
tar xzf "$work"/kallithea*tune-"$version".tar.gz -C "$work"
cd "$work"/kallithea*tune-"$version"
cp -r contrib/debian debian
sed -i "s|@MAINTAINER@|$DEBFULLNAME <$DEBEMAIL>|; s|@VERSION@|$version|; s|@DATE@|$(date -R)|" debian/control debian/changelog
dpkg-buildpackage -us -uc -b
lintian --allow-root --fail-on error,warning ../*.changes
cd - >/dev/null
mkdir -p dist
mv "$work"/*.deb dist
echo "dist/$(cd dist && ls -- *_"$version"-1_all.deb)"
