# Sourced: installs Debian packages that are missing, as root or through a sudo that asks no password.
# usage: debian_packages PACKAGE...; prints nothing and does nothing when all are there.

debian_packages() {
    missing=""
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        return 0
    fi
    if [ "$(id -u)" = 0 ]; then
        become=""
    elif sudo -n true 2>/dev/null; then
        become="sudo -n"
    else
        echo "Install these Debian packages first, as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    echo "Installing$missing ..."
    $become apt-get update -qq
    # The packages may start a server of the system's own; the tests run private ones and leave it alone.
    $become env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
