"""What a lambda for each group of features is worth on real features.

The 167 prompts of 48 real completions at d = 64, through the engine alone; labels are drawn from the
fitted theta. The axes stand in the order of their variance, and blocks of them are the groups. Arms,
on the same pools and with the same random numbers of labels, answers taken as clean: policy_trace and
uniform pairs, each with one group and with blocks. Each line: mean gap after so many labels with its
95 % interval, mean c of the pairs, and the mean log of the gap over that of the same rule with one
group, of the same seed, with its 95 % interval.
"""

import json
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from math import log, sqrt
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support import alpaca, engine_alone  # noqa: E402

SEEDS = range(1, 13)
PROCESSES = 2
ARMS = {(rule, blocks): (f"features.blocks={blocks}", "labels.lapse=0", "control.share=0")
        for rule in ("policy_trace", "uniform") for blocks in (1, 2, 4, 8)}


def interval(values):
    return round(1.96 * stdev(values) / sqrt(len(values)), 5)


def main():
    chosen = environment.arguments(__doc__, labels=1000)
    world = alpaca.load()

    def one(place):
        (rule, blocks), seed = place
        return engine_alone.run(chosen.build, chosen.labels, seed, rule, ARMS[rule, blocks])

    gaps, costs = defaultdict(list), defaultdict(list)
    places = [(arm, seed) for arm in ARMS for seed in SEEDS]
    with ThreadPoolExecutor(PROCESSES) as pool:
        for (arm, _), asked in zip(places, pool.map(one, places)):
            gaps[arm].append(world.gap(asked.psi, asked.scale))
            costs[arm].append(world.c(asked.left, asked.right))
    for (rule, blocks), values in gaps.items():
        logs = [log(gap / plain) for gap, plain in zip(values, gaps[rule, 1])]
        print(json.dumps({
            "bench": "groups", "rule": rule, "blocks": blocks, "labels": chosen.labels,
            "gap": round(mean(values), 5), "gap_interval": interval(values),
            "c": round(mean(costs[rule, blocks]), 2), "log_ratio": round(mean(logs), 3),
            "log_ratio_interval": interval(logs) if blocks > 1 else 0, "seeds": len(values)}),
            flush=True)


if __name__ == "__main__":
    main()
