"""What it costs that several workers split the partitions and learn of each other with a lag.

The log-linear world of `rules`: d = 8, 50 pools of 16 and 50 labels a second, 1,000 labels,
`policy_trace`. The budget is split over 16 partitions of completions, these over 1, 4 or 16 workers.
Each knows its own entries at once and those of others 0, 1 or 10 seconds later, so that at 10 s it is
500 labels behind; one worker fits, and takes all labels, or (`spread`) every worker takes a part.
Paired with one worker that holds all 16 partitions, on the same worlds, pools and random numbers of
labels, mean log ratio with its 95 % interval:
  c       T tr(I F^-1) of the asked pairs, at the truth: the design alone
  gap     of the policy at the psi fitted to exactly the 1,000 labels
  now     of the policy at the fit in force when the last of them was asked: what is still on its way
          is missing
The line `partitions 1` is one worker without a split budget.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from math import exp, log, sqrt
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import environment  # noqa: E402

import rules  # noqa: E402

LABELS, DIMENSION, PARTITIONS = 1000, 8, 16
BASE = (1, PARTITIONS, 0, False)  # workers, partitions, lag in seconds, labels spread
CASES = ([BASE, (1, 1, 0, False)]
         + [(workers, PARTITIONS, lag, False) for workers in (4, 16) for lag in (0, 1, 10)]
         + [(16, PARTITIONS, lag, True) for lag in (1, 10)])
MEASURES = {"c": "c", "gap": "fitted", "now": "gap"}


def fields(case):
    workers, partitions, lag, spread = case
    return {"workers": workers, "partitions": partitions, "lag": lag, "fitted": "true",
            "spread": "true" if spread else "false"}


def compare(base, lines):
    """{measure: mean log ratio to base, its 95 % interval}."""
    found = {}
    for name, key in MEASURES.items():
        logs = [log(line[key] / at_base[key]) for line, at_base in zip(lines, base)]
        spread = 1.96 * stdev(logs) / sqrt(len(logs))
        found[name] = [round(mean(logs), 4), round(spread, 4)]
    return found


def report(case, base, lines):
    workers, partitions, lag, spread = case
    ratios = compare(base, lines)
    print(json.dumps({
        "bench": "partitions",
        "case": {"workers": workers, "partitions": partitions, "lag": lag, "spread": spread,
                 "d": DIMENSION, "labels": LABELS, "seeds": len(lines)},
        "value": round(mean(line["c"] for line in lines), 3), "unit": "c", "better": "lower",
        "reference": "one worker with 16 partitions",
        "reference_value": round(mean(line["c"] for line in base), 3),
        "ratio": round(exp(ratios["c"][0]), 4),
        "gap": round(mean(line["fitted"] for line in lines), 5),
        "gap_now": round(mean(line["gap"] for line in lines), 5),
        **{f"log_ratio_{name}": value for name, value in ratios.items()}}), flush=True)


def main():
    chosen = environment.arguments(__doc__, seeds=48)
    seeds = range(1, chosen.seeds + 1)
    base = None
    with ThreadPoolExecutor(rules.PROCESSES) as pool:
        for case in CASES:
            def one(seed, case=case):
                return rules.run(chosen.build, seed, LABELS, DIMENSION, ["policy_trace"],
                                 more=fields(case))[0]
            lines = list(pool.map(one, seeds))
            base = base or lines
            report(case, base, lines)


if __name__ == "__main__":
    main()
