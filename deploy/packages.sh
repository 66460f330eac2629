# The Debian packages that building and testing need, and how they are installed. Sourced, not run.

PACKAGES_BUILD="ca-certificates cmake gcc libc6-dev libavro-dev libconfig-dev libjansson-dev
libmicrohttpd-dev libopenblas-dev librdkafka-dev libxxhash-dev ninja-build pkg-config uthash-dev"

PACKAGES_TEST="clang-format libcmocka-dev maven openjdk-17-jre-headless patch python3 python3-venv"
PACKAGES_BROWSER="chromium chromium-driver"

# Prints those of the given packages that are not installed.
packages_missing() {
    local package
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            printf '%s ' "$package"
        fi
    done
}

# Installs what is missing of the given packages; asks for root only then.
packages_install() {
    local missing root=""
    if ! command -v apt-get >/dev/null; then
        echo "No apt-get here: please provide what these Debian packages hold: $*" >&2
        return 0
    fi
    missing=$(packages_missing "$@")
    if [ -z "$missing" ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Missing packages: $missing" >&2
            echo "Install them as root (apt-get install), or install sudo, and start again." >&2
            return 1
        fi
        root=sudo
    fi
    echo "Installing: $missing"
    # The list is split on purpose; $root is empty for root.
    # shellcheck disable=SC2086
    $root apt-get update -q
    # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}
