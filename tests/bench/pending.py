"""What it is worth that a batch is picked knowing its own picks: pairs that wait for their label stand
in Sigma.

The log-linear world of `rules`, d = 32: 500 pools of 16, one after the other a pair of each, the first 500 labels
that there are. `on`: each pick sees those before it. `off`: the fit in force says that nothing comes
back, so that a pick sees none of the others. Gap of the policy at the psi fitted to these 500 labels.
value: mean gap on; reference: mean gap off; at most half of it is asked. An independent NumPy program
found .096 and .228.
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

BATCH, DIMENSION = 500, 32
BOUND = .5
NUMPY = (.096, .228)
MORE = {"pools": BATCH, "batch": BATCH, "fitted": "true"}


def main():
    chosen = environment.arguments(__doc__, seeds=200)

    def one(seed):
        return [rules.run(chosen.build, seed, BATCH, DIMENSION,
                          ["policy_trace,selection.when=pool,pool.picks=1"],
                          more={**MORE, "pending": pending})[0]["fitted"]
                for pending in ("true", "false")]

    with ThreadPoolExecutor(rules.PROCESSES) as pool:
        gaps = list(pool.map(one, range(1, chosen.seeds + 1)))
    on, off = (mean(pair[k] for pair in gaps) for k in range(2))
    logs = [log(pair[0] / pair[1]) for pair in gaps]
    met = on <= BOUND * off
    print(json.dumps({
        "bench": "pending", "case": {"batch": BATCH, "d": DIMENSION, "seeds": len(gaps)},
        "value": round(on, 5), "unit": "gap", "better": "lower", "reference": "pending off",
        "reference_value": round(off, 5), "ratio": round(on / off, 4), "bound": BOUND, "met": met,
        "log_ratio": [round(mean(logs), 4), round(1.96 * stdev(logs) / sqrt(len(logs)), 4)],
        "ratio_of_seeds": round(exp(mean(logs)), 4),
        "numpy": NUMPY, "numpy_ratio": round(NUMPY[0] / NUMPY[1], 4)}), flush=True)
    sys.exit(not met)


if __name__ == "__main__":
    main()
