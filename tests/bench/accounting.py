"""How often the interval of /accounting holds the truth, and what the shadows cost.

The log-linear world of `rules`: pools of 16, 50 pools and 50 labels a round, a fifth of the labels
in the control arm, another world, pools and labels with each seed. Truth: the uniform labels of the
same pools that reach the selected arm's tr(I (lambda Id + F)^-1), weights and I at the true psi,
mean over 64 orders. Lines:
  coverage  share of the runs whose 90 % interval of the uniform labels holds the truth, of those
            that the control arm supports
  bias      mean log of the interval's middle over the truth, with its standard deviation over runs
  supported share of the runs that the control arm supports; the test's level is 1 %
  gap       mean true gap of the policy over the mean ends of the bracket
  cost      processor time of a pick with shadows over that without, 10,000 open pools, d = 64
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from math import log
from pathlib import Path
from statistics import mean, median, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

PROCESSES = 2
CASES = [(8, 400, 200), (32, 1200, 60)]  # features, labels, runs
NOMINAL, COVERAGE = 0.9, (0.84, 0.96)
SUPPORTED, COST = 0.95, 1.05
COST_DIMENSION = 64


def alone(build, *words):
    return environment.lines_of(build / "tests" / "bench" / "accounting_alone", *words)


def runs(build, dimension, labels, count):
    def part(k):
        size = count // PROCESSES
        return alone(build, "--dimension", dimension, "--labels", labels, "--seed", 1 + k * size,
                     "--runs", size)
    with ThreadPoolExecutor(PROCESSES) as pool:
        return [line for lines in pool.map(part, range(PROCESSES)) for line in lines]


def show(case, name, value, reference, reference_value, **more):
    print(json.dumps({"bench": "accounting", "case": {**case, "measure": name}, "value": value,
                      "unit": more.pop("unit", "share"), "reference": reference,
                      "reference_value": reference_value,
                      "ratio": round(value / reference_value, 4), **more}), flush=True)


def measure(build, dimension, labels, count):
    lines = runs(build, dimension, labels, count)
    case = {"d": dimension, "labels": labels, "runs": len(lines)}
    told = [line for line in lines if line["supported"]]
    held = mean(line["low"] <= line["truth"] <= line["high"] for line in told)
    within = COVERAGE[0] <= held <= COVERAGE[1]
    show(case, "coverage", round(held, 4), "nominal", NOMINAL, bound=COVERAGE, met=within,
         truth_below=round(mean(line["truth"] < line["low"] for line in told), 4),
         truth_above=round(mean(line["truth"] > line["high"] for line in told), 4))
    logs = [log(line["mid"] / line["truth"]) for line in told]
    factor = mean(line["truth"] / line["labels"] for line in told)
    show(case, "bias", round(mean(line["mid"] / line["labels"] for line in told), 4),
         "true uniform labels a label", round(factor, 4), unit="uniform labels a label",
         log_bias=round(mean(logs), 4), log_deviation=round(stdev(logs), 4),
         log_width=round(mean(log(line["high"] / line["low"]) for line in told), 4))
    supported = len(told) / len(lines)
    show(case, "supported", round(supported, 4), "all runs", 1, better="higher", bound=SUPPORTED)
    gap = mean(line["gap"] for line in lines)
    for end in ("gap_low", "gap_high"):
        show(case, end, round(mean(line[end] for line in lines), 6), "true gap", round(gap, 6),
             unit="reward")
    return within and supported >= SUPPORTED


def cost(build):
    lines = alone(build, "--cost", COST_DIMENSION)
    ratios = [line["with"] / line["without"] for line in lines]
    value = median(line["with"] for line in lines)
    print(json.dumps({"bench": "accounting",
                      "case": {"d": COST_DIMENSION, "pools": lines[0]["pools"], "measure": "cost"},
                      "value": round(1e6 * value, 1), "unit": "us/pick", "better": "lower",
                      "reference": "without shadows",
                      "reference_value": round(1e6 * median(line["without"] for line in lines), 1),
                      "ratio": round(median(ratios), 4), "min": round(min(ratios), 4),
                      "max": round(max(ratios), 4), "bound": COST}), flush=True)
    return median(ratios) <= COST


def main():
    chosen = environment.arguments(__doc__)
    within = [measure(chosen.build, *case) for case in CASES]
    within.append(cost(chosen.build))
    if not all(within):
        print("accounting: beyond a bound", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
