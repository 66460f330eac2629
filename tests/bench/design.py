"""Seconds to a design whose gap is proven to be 1e-4 of the objective, against plain Frank-Wolfe.

Frank-Wolfe, in NumPy on one thread, has an exact line search and STEPS steps; its time is that to the
best gap that it reaches in them. Both gaps are computed over all pairs.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402

STEPS = 1000
# Pools, completions of each, d, labels to come.
CASES = ((50, 16, 8, 50), (50, 16, 8, 2000), (50, 16, 32, 50), (50, 16, 32, 2000),
         (50, 16, 64, 50), (50, 16, 64, 2000), (1, 110, 32, 500))


def step_length(m, towards, policy):
    """The s in [0, 1] of least tr(I ((1 - s) M + s T)^-1): a sum of b_i / (1 + s mu_i)."""
    factor = np.linalg.inv(np.linalg.cholesky(m))
    mu, vectors = np.linalg.eigh(factor @ (towards - m) @ factor.T)
    b = np.einsum("ij,ij->j", vectors, factor @ policy @ factor.T @ vectors)
    low, high = 0.0, 1.0
    for _ in range(50):
        s = (low + high) / 2
        if (b * mu / (1 + s * mu) ** 2).sum() > 0:
            low = s
        else:
            high = s
    return low


def frank_wolfe(x, weight, sigma, policy, mass):
    """(seconds to the best gap, that gap as a share of the objective, the objective there)."""
    p = np.full(len(x), 1 / len(x))
    best = (np.inf, 0, 0)
    begun = time.perf_counter()
    m = sigma + mass * (x.T * (p * weight)) @ x
    for _ in range(STEPS):
        inverse = np.linalg.inv(m)
        slope = mass * weight * np.einsum("ij,ij->i", x @ (inverse @ policy @ inverse), x)
        objective = (policy * inverse).sum()
        k = int(slope.argmax())
        gap = (slope[k] - slope @ p) / objective
        if gap < best[0]:
            best = (gap, time.perf_counter() - begun, objective)
        towards = sigma + mass * weight[k] * np.outer(x[k], x[k])
        s = step_length(m, towards, policy)
        m = (1 - s) * m + s * towards
        p *= 1 - s
        p[k] += s
    return best[1], best[0], best[2]


def read(path, count, d):
    parts = np.split(np.fromfile(path), np.cumsum([count * d, count, d * d]))
    return parts[0].reshape(count, d), parts[1], parts[2].reshape(d, d), parts[3].reshape(d, d)


def compare(build, pools, rows, d, mass, runs, path):
    words = [str(each) for each in (pools, rows, d, mass, 1, 1, path)]
    count = pools * rows * (rows - 1) // 2
    values, found = [], None
    for _ in range(runs):
        found, = environment.lines_of(build / "list_alone", "design", *words)
        values.append(found["seconds"])
    seconds, gap, objective = frank_wolfe(*read(path, count, d), mass)
    print(json.dumps({
        "bench": "design", "case": {"pairs": count, "pools": pools, "d": d, "labels": mass,
                                    "runs": runs},
        "value": round(median(values), 4), "min": round(min(values), 4),
        "max": round(max(values), 4), "unit": "s", "better": "lower", "gap": found["gap"],
        "exchanges": found["exchanges"],
        "reference": f"Frank-Wolfe's best of {STEPS} steps", "reference_value": round(seconds, 3),
        "reference_gap": float(f"{gap:.2e}"),
        "objective_ratio": round(found["objective"] / objective, 6),
        "ratio": round(median(values) / seconds, 5)}), flush=True)


def main():
    chosen = environment.arguments(__doc__, runs=3, scale=1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "list")
        for pools, rows, d, mass in CASES:
            compare(chosen.build, max(1, int(pools * chosen.scale)), rows, d, mass, chosen.runs,
                    path)


if __name__ == "__main__":
    main()
