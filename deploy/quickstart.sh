#!/bin/bash
# From a fresh Debian 12 to the running demo: installs what is missing, builds, runs `infopair demo`.
#
# Usage: deploy/quickstart.sh [OPTIONS OF infopair demo]
# The exit status is the demo's. Safe to run again: what is there already is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

echo "== 1. Packages"
# shellcheck disable=SC2086
packages_install $PACKAGES_BUILD

echo "== 2. Build (build/release)"
cmake --preset release -DINFOPAIR_TESTS=OFF
cmake --build --preset release --target infopair

echo "== 3. Demo (no server needed; it ends by itself within 90 seconds)"
exec build/release/infopair demo "$@"
