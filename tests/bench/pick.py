"""Picks a second of the global rule over 10,000 open pools of 16, and what its laziness loses.

Reference: the same picker with every pool updated after each pick. loss: by how much tr(I S) after
500 picks is above the reference's, as a part of it; loss_of_fall: as a part of its fall.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

DIMENSIONS = (64, 384)
LOSS = 0.01
LEAST = {64: 2000 / 41e9}  # picks a second for each flop a second


def main():
    chosen = environment.arguments(__doc__)
    within = True
    for d in DIMENSIONS:
        flops = environment.lines_of(chosen.build / "tests" / "bench" / "gemm")[0]["flops"]
        for run in environment.lines_of(chosen.build / "select_alone", "pick", d):
            least = LEAST.get(d, 0) * flops
            print(json.dumps({
                "bench": "pick", "case": {each: run[each] for each in
                                          ("d", "n", "pools", "picks", "features")},
                "value": run["rate"], "unit": "picks/s", "better": "higher",
                "reference": "every pool updated after each pick",
                "reference_value": run["exact_rate"],
                "ratio": round(run["rate"] / run["exact_rate"], 2), "least": round(least),
                "flops": flops, "loss": run["loss"], "loss_of_fall": run["loss_of_fall"],
                "loss_bound": LOSS, "open_us": run["open_us"],
                "bytes_a_pool": run["bytes_a_pool"]}), flush=True)
            within &= run["rate"] >= least and run["loss"] <= LOSS
    if not within:
        print("pick: beyond a bound", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
