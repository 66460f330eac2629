#!/bin/bash
# Runs benchmarks and prints one JSON object a line; see --help.
set -euo pipefail
cd "$(dirname "$0")/.."
KNOWN="pipeline memory restore workers partitions pending rules lapses groups labels simulate accounting replay select pick flat design"

usage() {
    cat <<TEXT
Usage: tests/bench.sh NAME...

Runs the named benchmarks on the optimised build and prints JSON lines: each value beside a reference
measured in the same run, ratio = value / reference's value, medians with min and max. The last line
names the machine and the versions. Everything else goes to standard error. Ends with 1 when a figure
is beyond its bound. There are:

  pipeline   completions a second of the worker against a bare rd_kafka_consumer_poll loop
  memory     resident bytes of an open completion and of a window pair against what they must hold
  restore    time to read a full ledger and rebuild Sigma against a bare read and one dsyrk; a cold fit
  workers    two workers on split partitions against one; age of the other's ledger entries
  partitions what split partitions and a lag of the ledger cost the choice of pairs
  pending    gap after a batch of 500 that sees its own picks against one that does not
  rules      every rule of selection in a world whose truth is known, against uniform pairs
  lapses     what careless answers cost, and what estimating their share wins back
  groups     what a lambda for each group of features is worth on real features
  labels     how many labels each rule saves, in simulated worlds and on real features
  simulate   seconds of infopair simulate for twelve rules against NumPy, and that both mean the same
  accounting the interval of the labels saved against the truth; what the shadows add to a pick
  replay     completions a second of infopair replay against the engine alone
  select     time to open a pool and find its best pair against its multiplications, and NumPy
  pick       picks a second over 10,000 open pools against exact updates, and what they lose
  flat       milliseconds a pick of one list of 1e4 and 1e5 pairs against NumPy
  design     seconds to a design of a proven gap of 1e-4 against plain Frank-Wolfe's best
TEXT
}

if [ $# -eq 0 ] || [ "$1" = --help ]; then
    usage
    exit $(($# == 0 ? 2 : 0))
fi
for name in "$@"; do
    if ! [[ " $KNOWN " == *" $name "* ]]; then
        echo "Unknown benchmark: $name (there are: $KNOWN)" >&2
        exit 2
    fi
done

tests/run.sh --prepare >&2
failed=0
for name in "$@"; do
    .cache/venv/bin/python3 "tests/bench/$name.py" --build build/ci || failed=1
done
.cache/venv/bin/python3 tests/bench/machine.py
exit $failed
