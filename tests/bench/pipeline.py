"""Completions a second of the worker, against a bare consumer loop over the same topic.

For each dimension one topic of completions is written beforehand; then the bare loop and a worker
with a fresh group and fresh outputs read it in turn, several times. The worker's rate is that of
infopair_completions_total between the first sight of a tenth and the end.
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
from support.stage import Stage  # noqa: E402

POOL = 16
PARTITIONS = 3
CASES = {64: 400000, 384: 150000}  # completions of each dimension


def floor_rate(stage, topic):
    read, = environment.lines_of(stage.build / "tests" / "bench" / "consume", stage.brokers, topic,
                                 PARTITIONS)
    return (read["records"] - 1) / read["seconds"]


def worker_rate(stage, topic, dimension, count, run):
    """A worker that has seen nothing yet reads the whole topic."""
    with backlog.workers(stage, topic, f"bench-{dimension}-{run}",
                         options={"features.dimension": dimension})[0] as worker:
        begun = [None]

        def seen():
            worker.must_live()
            number = worker.metrics().get("infopair_completions_total", 0)
            if begun[0] is None and number >= count / 10:
                begun[0] = (time.monotonic(), number)
            return number >= count
        eventually(seen, 300, f"{count} completions", every=0.02)
        rate = (count - begun[0][1]) / (time.monotonic() - begun[0][0])
        worker.terminate(60)
    return rate


def bench(stage, dimension, count, runs):
    topic = f"bench.completions.{dimension}"
    log(f"writing {count} completions, d = {dimension}")
    backlog.write(stage, topic, PARTITIONS, dimension, POOL, count)
    floor_rate(stage, topic)  # warms the page cache, for both alike
    floors, workers = [], []
    for run in range(runs):
        floors.append(floor_rate(stage, topic))
        workers.append(worker_rate(stage, topic, dimension, count, run))
        log(f"d = {dimension}, run {run}: bare {floors[-1]:.0f}/s, worker {workers[-1]:.0f}/s")
    print(json.dumps({
        "bench": "pipeline", "case": {"d": dimension, "n": POOL, "completions": count,
                                      "runs": runs},
        "value": round(median(workers)), "min": round(min(workers)), "max": round(max(workers)),
        "unit": "completions/s", "better": "higher",
        "reference": "bare rd_kafka_consumer_poll loop", "reference_value": round(median(floors)),
        "ratio": round(median(workers) / median(floors), 4)}), flush=True)


def main():
    chosen = environment.arguments(__doc__, runs=3, scale=1.0)
    options = {"pool.size": POOL, "pool.max": POOL, "pool.age": "2d", "memory.limit": "2GiB",
               "budget.per_second": 10, "budget.in_flight": 100, "log.level": "warn",
               "topics.partitions": PARTITIONS}
    with Stage(chosen.build, options, chosen.keep, topics=False) as stage:
        for dimension, count in CASES.items():
            bench(stage, dimension, int(count * chosen.scale), chosen.runs)


if __name__ == "__main__":
    main()
