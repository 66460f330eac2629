"""Two workers on split partitions against one, and how old the other one's ledger entries are.

A topic of completions is written beforehand. One worker and then two, each time with a fresh group
and fresh outputs, read all of it while pairs are picked; the rate is that of
infopair_completions_total, all workers together, from when each has begun until the end. The age
is infopair_ledger_age_seconds of both workers between the first sight of a fifth and that end: from
a decision to its arrival at the other worker; the quantile is interpolated within its bucket.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support import backlog  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.environment import log  # noqa: E402
from support.kafka import KafkaCluster  # noqa: E402
from support.stage import Stage  # noqa: E402

POOL = 16
PARTITIONS = 6
DIMENSION = 64
COMPLETIONS = 600000
COMMIT = 0.2  # commit.interval, s
TOPIC = "bench.completions"


class Reading:
    """What the workers have read together, and since when all of them read."""

    def __init__(self, workers, count):
        self.workers = workers
        self.count = count
        self.begun = None
        self.ages_before = None  # at the first sight of a fifth
        self.metrics = []

    def done(self):
        for worker in self.workers:
            worker.must_live()
        self.metrics = [worker.metrics() for worker in self.workers]
        seen = [found.get("infopair_completions_total", 0) for found in self.metrics]
        if self.begun is None and min(seen) > 0:
            self.begun = (time.monotonic(), sum(seen))
        if self.ages_before is None and sum(seen) >= self.count / 5:
            self.ages_before = self._ages()
        return sum(seen) >= self.count

    def rate(self):
        return (self.count - self.begun[1]) / (time.monotonic() - self.begun[0])

    def ages(self):
        """{upper bound: observations up to it}, of all workers, since the first fifth."""
        return {bound: count - self.ages_before.get(bound, 0)
                for bound, count in self._ages().items()}

    def _ages(self):
        total = {}
        for found in self.metrics:
            for labels, value in found.get("infopair_ledger_age_seconds_bucket{}", {}).items():
                bound = float(dict(labels)["le"])
                total[bound] = total.get(bound, 0) + value
        return total


def quantile(buckets, share):
    """Interpolated, as Prometheus does it."""
    wanted = share * max(buckets.values())
    low, before = 0.0, 0
    for bound, count in sorted(buckets.items()):
        if count >= wanted and count > before:
            return low if bound == float("inf") else \
                low + (bound - low) * (wanted - before) / (count - before)
        low, before = bound, count
    return float("nan")


def read(stage, number, count, run):
    """A fresh group of `number` workers reads the whole topic."""
    workers = backlog.workers(stage, TOPIC, f"workers-{number}-{run}", number)
    try:
        for worker in workers:
            worker.start()
        reading = Reading(workers, count)
        eventually(reading.done, 300, f"{count} completions", every=0.02)
        rate = reading.rate()
    finally:
        for worker in workers:
            worker.kill()
    return rate, reading.ages()


def line(values, case, **more):
    print(json.dumps({"bench": "workers", "case": {"d": DIMENSION, "n": POOL, **case},
                      "value": round(median(values), 3), "min": round(min(values), 3),
                      "max": round(max(values), 3), **more}), flush=True)


def bench(stage, count, runs):
    log(f"writing {count} completions, d = {DIMENSION}")
    backlog.write(stage, TOPIC, PARTITIONS, DIMENSION, POOL, count)
    read(stage, 1, count, "warm")
    ones, twos, ages, entries = [], [], [], []
    for run in range(runs):
        ones.append(read(stage, 1, count, run)[0])
        rate, buckets = read(stage, 2, count, run)
        twos.append(rate)
        ages.append(quantile(buckets, 0.99))
        entries.append(int(max(buckets.values())))
        log(f"run {run}: one {ones[-1]:.0f}/s, two {rate:.0f}/s, age p50 "
            f"{quantile(buckets, 0.5):.3f} s, p99 {ages[-1]:.3f} s of {entries[-1]} entries")
    case = {"workers": 2, "completions": count, "runs": runs}
    line(twos, case, unit="completions/s", better="higher", reference="one worker",
         reference_value=round(median(ones)),
         ratio=round(median(two / one for two, one in zip(twos, ones)), 3))
    line(ages, {**case, "quantile": 0.99, "entries": int(median(entries))}, unit="s",
         better="lower", reference="commit.interval", reference_value=COMMIT,
         ratio=round(median(ages) / COMMIT, 3))


def main():
    chosen = environment.arguments(__doc__, runs=3, scale=1.0)
    options = {"features.dimension": DIMENSION, "pool.size": POOL, "pool.max": POOL,
               "pool.age": "2d", "memory.limit": "2GiB", "budget.per_second": 100,
               "budget.in_flight": 100000, "moments.interval": "1s", "log.level": "warn",
               "topics.partitions": PARTITIONS}
    # The first members of a group wait for each other.
    kafka = KafkaCluster(keep=chosen.keep, settings={"group.initial.rebalance.delay.ms": 2000})
    with Stage(chosen.build, options, chosen.keep, topics=False, kafka=kafka) as stage:
        bench(stage, int(COMPLETIONS * chosen.scale), chosen.runs)


if __name__ == "__main__":
    main()
