#!/bin/bash
# Installs what is missing, builds and runs the tests; see --help.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

KAFKA=4.3.1
CACHE=$PWD/.cache
KNOWN="unit conformance simulation broker proof"

usage() {
    cat <<TEXT
Usage: tests/run.sh [LABEL...] [--all]
       tests/run.sh simulation --minutes N
       tests/run.sh --conformance DIR
       tests/run.sh --prepare

Runs the tests with the given labels ($KNOWN), or, without a label,
every test that is not long. Installs what is missing (Debian packages, a Python environment and
Apache Kafka $KAFKA in .cache), builds with warnings as errors, checks the formatting, then runs
unit, conformance and simulation tests under the address and undefined-behaviour sanitizers, and
last all tests of the optimised build.

  --all              also the long tests
  --minutes N        the simulation with fresh seeds for so long, and nothing else
  --conformance DIR  build and run the conformance program on the vectors in DIR
  --prepare          install and build only
  --help             this text

TEST_DATA names the folder of test data (default: shared/data beside the project); tests that need
what is not there are skipped and say so.
TEXT
}

say() { printf '\n== %s\n' "$*"; }

# Debian's own Python where it can make environments: a version manager's may lack ensurepip or be
# too new for the pinned wheels.
pick_python() {
    local python
    for python in /usr/bin/python3 python3; do
        if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "No Python that can make virtual environments (Debian: python3-venv)" >&2
    return 1
}

prepare_python() {
    local stamp
    stamp=$(sha256sum <tests/requirements.txt)
    if [ "$(cat "$CACHE/venv/stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "Python environment (.cache/venv)"
    "$(pick_python)" -m venv --clear "$CACHE/venv"
    "$CACHE/venv/bin/python3" -m pip install -q --disable-pip-version-check -r tests/requirements.txt
    echo "$stamp" >"$CACHE/venv/stamp"
}

prepare_kafka() {
    local folder=$CACHE/kafka-$KAFKA stamp
    stamp=$(sha256sum <tests/support/kafka/pom.xml)
    if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "Apache Kafka $KAFKA (.cache/kafka-$KAFKA)"
    rm -rf "$folder"
    mvn -q -B -Dstyle.color=never -f tests/support/kafka/pom.xml \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$folder" -DincludeScope=runtime
    echo "$stamp" >"$folder/stamp"
}

check_format() {
    say "Formatting"
    find schemas selectors worker tests -name '*.[ch]' -print0 |
        xargs -0 clang-format --dry-run -Werror
}

build() { # PRESET [TARGET...]
    local preset=$1
    shift
    say "Build ($preset)"
    cmake --preset "$preset"
    cmake --build --preset "$preset" ${1:+--target "$@"}
}

run_conformance() {
    local program
    build ci conformance
    for program in build/ci/conformance build/ci/tests/conformance build/ci/tests/conformance/conformance; do
        if [ -f "$program" ] && [ -x "$program" ]; then
            exec "$program" "$1"
        fi
    done
    echo "The build made no conformance program" >&2
    exit 1
}

join() { # WORDS... -> ^(a|b)$
    local IFS='|'
    echo "^($*)\$"
}

labels=()
all=no
prepare=no
minutes=
conformance=
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage; exit 0 ;;
    --all) all=yes ;;
    --prepare) prepare=yes ;;
    --minutes)
        minutes=${2:?--minutes needs a number}
        shift
        ;;
    --conformance)
        conformance=${2:?--conformance needs a folder}
        shift
        ;;
    -*) usage >&2; exit 2 ;;
    *)
        if ! [[ " $KNOWN " == *" $1 "* ]]; then
            echo "Unknown label: $1 (there are: $KNOWN)" >&2
            exit 2
        fi
        labels+=("$1")
        ;;
    esac
    shift
done
if [ -n "$conformance" ]; then
    conformance=$(realpath "$conformance")
fi

TEST_DATA=${TEST_DATA:-$PWD/../shared/data}
if [ -d "$TEST_DATA" ]; then
    TEST_DATA=$(realpath "$TEST_DATA")
else
    echo "No test data in $TEST_DATA: tests that need them will be skipped"
fi
export TEST_DATA

say "Packages"
# shellcheck disable=SC2086
packages_install $PACKAGES_BUILD $PACKAGES_TEST
wanted=" ${labels[*]:-$KNOWN} "
if [[ "$wanted" == *" proof "* ]] && [ -z "$conformance$minutes" ] && [ $prepare = no ]; then
    # shellcheck disable=SC2086
    packages_install $PACKAGES_BROWSER
fi
if [ -n "$conformance" ]; then
    run_conformance "$conformance"
fi

sanitized=()
for label in unit conformance simulation; do
    if [[ "$wanted" == *" $label "* ]]; then
        sanitized+=("$label")
    fi
done
mkdir -p "$CACHE"
prepare_python
if [[ "$wanted" == *" broker "* ]]; then
    prepare_kafka
fi
if [ -n "$minutes" ]; then
    build ci simulate
    say "Simulation, fresh seeds for $minutes minutes"
    exec "$CACHE/venv/bin/python3" tests/simulation/judge.py --minutes "$minutes"
fi
if [ $prepare = yes ]; then
    build ci
    exit
fi
check_format
build ci

choice=(--output-on-failure --no-tests=error -j2)
if [ $all = no ]; then
    choice+=(-LE '^long$')
fi
if [ ${#sanitized[@]} -gt 0 ]; then
    build asan
    say "Tests under the sanitizers (${sanitized[*]})"
    ctest --test-dir build/asan "${choice[@]}" -L "$(join "${sanitized[@]}")"
fi

say "Tests"
if [ $all = no ]; then
    echo "Long tests are left out; --all runs them too"
fi
if [ ${#labels[@]} -gt 0 ]; then
    choice+=(-L "$(join "${labels[@]}")")
fi
exec ctest --test-dir build/ci "${choice[@]}"
