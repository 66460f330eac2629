"""What infopair claims of its rules, in simulated worlds of fixed seeds: orders and intervals, with
bounds at four standard errors, so that none of it rests on luck.

c = labels tr(I inverse(F)) at the truth says how good the asked pairs are, nearly without noise.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from math import log, sqrt
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

ERRORS = 4
SEEDS = 16
PER_POOL = "policy_trace,selection.when=pool"
# c at T = 2000, with its standard error, of an independent NumPy program: 24 seeds of its own.
REFERENCE = {(8, "uniform"): (17.9, .4), (8, "policy_trace"): (4.14, .08), (8, PER_POOL): (5.93, .1),
             (32, "uniform"): (75.8, .9), (32, "policy_trace"): (18.9, .3), (32, PER_POOL): (30.8, .5)}


class Runs:
    """The runs of one scene: values of each seed by rule."""

    def __init__(self, chosen, scene, rules, labels, *more, seeds=None):
        self.name = " ".join([scene, *more])
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "runs.jsonl"
            subprocess.run([chosen.build / "infopair", "simulate", scene, "--quiet", "--seeds",
                            str(seeds or chosen.seeds), "--labels", str(labels), "--rules",
                            ";".join(rules), "--record", record, *more],
                           check=True, stdout=subprocess.PIPE)
            lines = [json.loads(line) for line in record.read_text().splitlines()]
        self.c, self.gap = defaultdict(dict), defaultdict(dict)
        for line in lines:
            self.c[line["rule"]][line["seed"]] = line["c"]
            self.gap[line["rule"]][line["seed"]] = line["gap"][-1]

    def ratio(self, measure, left, right):
        """Mean over seeds of log(left / right), and its standard error."""
        values = [log(measure[left][seed] / measure[right][seed]) for seed in measure[left]]
        return mean(values), stdev(values) / sqrt(len(values))

    def below(self, measure, left, right, factor=1.0):
        """left is below factor * right."""
        value, error = self.ratio(measure, left, right)
        print(f"{self.name}: log of {left} over {right}: {value:.3f} ± {error:.3f}, asked below "
              f"{log(factor):.3f}", flush=True)
        assert value + ERRORS * error < log(factor), (left, right)

    def alike(self, measure, left, right, within):
        """left and right differ by less than a factor of 1 + within."""
        value, error = self.ratio(measure, left, right)
        print(f"{self.name}: log of {left} over {right}: {value:.3f} ± {error:.3f}, asked within "
              f"{log(1 + within):.3f}", flush=True)
        assert abs(value) < log(1 + within) + ERRORS * error, (left, right)


def reference(chosen, dimension):
    """c is that of the independent program, and choosing pairs saves what it is said to save."""
    rules = ["uniform", "policy_trace", PER_POOL]
    runs = Runs(chosen, "main", rules, 2000, "--with", f"dimension={dimension}")
    for rule in rules:
        values = list(runs.c[rule].values())
        expected, its_error = REFERENCE[dimension, rule]
        error = sqrt(stdev(values) ** 2 / len(values) + its_error ** 2)
        print(f"d = {dimension}, {rule}: c = {mean(values):.2f}, of the reference {expected} ± "
              f"{error:.2f}", flush=True)
        assert mean(values) < expected + ERRORS * error, rule
        assert rule != "uniform" or mean(values) > expected - ERRORS * error, rule
    runs.below(runs.c, "policy_trace", PER_POOL)
    runs.below(runs.c, PER_POOL, "uniform", 1 / 2)
    runs.below(runs.c, "policy_trace", "uniform", 1 / 3.6)
    runs.below(runs.gap, "policy_trace", "uniform", .7)


def rivals(chosen):
    """No rule of the field asks better pairs; those that seek reward ask worse ones than chance."""
    rules = ["uniform", "policy_trace", "dopt", "infomax", "dts", "maxminlcb", "best_vs_worst",
             "deltaucb"]
    runs = Runs(chosen, "main", rules, 1000)
    for rule in ("infomax", "dts", "maxminlcb"):
        runs.below(runs.c, "policy_trace", rule)
    for rule in ("best_vs_worst", "deltaucb"):
        runs.below(runs.c, "uniform", rule, 1 / 2)
        runs.below(runs.gap, "uniform", rule)
    target = Runs(chosen, "target", ["uniform", "policy_trace", "dopt"], 1000)
    target.below(target.c, "policy_trace", "dopt", 1 / 1.3)
    target.below(target.c, "dopt", "uniform")


def hardships(chosen):
    """Careless answers are won back, misspecification does no harm, more pools are worth more, and a
    price does without holding pools."""
    # Gaps of this world scatter most: what the estimate costs shows in three times as many.
    lapses = Runs(chosen, "lapses", ["policy_trace", "policy_trace,labels.lapse=0",
                                     "policy_trace,labels.lapse=0.2"], 1000, seeds=3 * chosen.seeds)
    lapses.below(lapses.gap, "policy_trace", "policy_trace,labels.lapse=0", 1 / 3)
    lapses.below(lapses.gap, "policy_trace", "policy_trace,labels.lapse=0.2", 3)
    misspecified = Runs(chosen, "misspecified", ["uniform", "policy_trace"], 1000)
    misspecified.below(misspecified.gap, "policy_trace", "uniform", 1.05)
    few = Runs(chosen, "main", ["policy_trace"], 1000)
    price = "policy_trace,selection.when=price,selection.price_share=0.25"
    many = Runs(chosen, "main", ["policy_trace", price], 1000, "--with", "pools=200")
    for rule in ("policy_trace", price):
        many.c[f"{rule} of 200"] = many.c.pop(rule)
    many.c["policy_trace"] = few.c["policy_trace"]
    many.below(many.c, "policy_trace of 200", "policy_trace")
    many.alike(many.c, f"{price} of 200", "policy_trace", .05)


def drift(chosen):
    """An embedding that changes every 250 labels costs hardly anything while labels come along, and
    a worker that begins anew each time does not get far."""
    rules = ["uniform", "policy_trace"]
    still, moving = (Runs(chosen, world, rules, 1000) for world in ("main", "drift"))
    anew = Runs(chosen, "drift", rules, 1000, "--with", "drift_carry=false")
    moving.below(moving.gap, "policy_trace", "uniform")
    for other, name in ((still, "without moves"), (anew, "begun anew")):
        moving.c[name] = other.c["policy_trace"]
        moving.gap[name] = other.gap["policy_trace"]
    moving.alike(moving.c, "policy_trace", "without moves", .03)
    moving.below(moving.c, "policy_trace", "begun anew")
    moving.below(moving.gap, "policy_trace", "begun anew")


def paper(chosen):
    """The paper's linear contextual world, as we read it: the best design for the policy beats
    uniform pairs, one made before any label does not reach it, and neither do adaptive picks miss
    it by much."""
    runs = Runs(chosen, "contextual", ["design:uniform", "design:reference", "design:plugin",
                                       "design:oracle", "policy_trace"], 2000)
    runs.below(runs.c, "design:oracle", "design:uniform", 1 / 2)
    runs.below(runs.c, "design:oracle", "design:plugin")
    runs.below(runs.c, "policy_trace", "design:uniform", 1 / 1.5)


def main():
    chosen = environment.arguments(__doc__, seeds=SEEDS)
    reference(chosen, 8)
    reference(chosen, 32)
    rivals(chosen)
    hardships(chosen)
    drift(chosen)
    paper(chosen)


if __name__ == "__main__":
    main()
