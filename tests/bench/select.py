"""Microseconds to open a pool and find its best pair, against a floor and against NumPy.

Floor: phi S, V I and the triangles of G and H at the rate of a GEMM of 256 rows, measured in turn
with the value. NumPy: the same by whole matrices or by the triangle of pairs, whichever is faster.
Beside them the formula pair by pair in plain C. One core, one thread of BLAS.
"""

import json
import os
import sys
import time
from pathlib import Path
from statistics import median

os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy as np  # noqa: E402

SIZES = (8, 16, 64, 256)
DIMENSIONS = (64, 384, 1024)


def bound(d):
    """What the value may be at most, in floors."""
    return 1.4 if d >= 384 else 2


class Pool:
    """One prompt's completions before S = Id and I = Id / d."""

    def __init__(self, n, d):
        random = np.random.default_rng(n * d)
        self.phi = random.standard_normal((n, d)).astype(np.float32)
        self.psi = .1 * random.standard_normal(d)
        self.inverse = np.eye(d)
        self.policy_inverse = np.eye(d) / d  # S I S
        self.i, self.j = np.triu_indices(n, 1)
        self.flat = self.i * n + self.j
        self.below = np.tril_indices(n)

    def grams(self):
        phi = self.phi.astype(np.float64)
        phi -= phi.mean(axis=0)
        return phi @ self.inverse @ phi.T, phi @ self.policy_inverse @ phi.T, phi @ self.psi

    @staticmethod
    def score(q, r, margin):
        kappa = 1 / np.sqrt(1 + np.pi / 8 * q)
        small = np.exp(-np.abs(kappa * margin))
        w = kappa * small / (1 + small) ** 2
        return w * r / (1 + w * q)

    def by_matrices(self):
        g, h, reward = self.grams()
        q = g.diagonal()[:, None] + g.diagonal() - 2 * g
        r = h.diagonal()[:, None] + h.diagonal() - 2 * h
        score = self.score(q, r, reward[:, None] - reward)
        score[self.below] = -np.inf
        return divmod(int(score.argmax()), len(reward))

    def by_pairs(self):
        g, h, reward = self.grams()
        q = g.diagonal()[self.i] + g.diagonal()[self.j] - 2 * g.ravel()[self.flat]
        r = h.diagonal()[self.i] + h.diagonal()[self.j] - 2 * h.ravel()[self.flat]
        best = int(self.score(q, r, reward[self.i] - reward[self.j]).argmax())
        return int(self.i[best]), int(self.j[best])


def numpy_time(n, d):
    pool = Pool(n, d)
    assert pool.by_matrices() == pool.by_pairs()
    medians = []
    for function in (pool.by_matrices, pool.by_pairs):
        times = []
        for _ in range(11 if n * d > 100000 else 101):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        medians.append(median(times))
    return 1e6 * min(medians)


def main():
    chosen = environment.arguments(__doc__, runs=3)
    within = True
    for d in DIMENSIONS:
        for n in SIZES:
            runs, numpy = [], []
            for _ in range(chosen.runs):
                runs += environment.lines_of(chosen.build / "select_alone", "select", n, d)
                numpy.append(numpy_time(n, d))
            run = sorted(runs, key=lambda each: each["us"] / each["floor_us"])[len(runs) // 2]
            ratio, beside = run["us"] / run["floor_us"], median(numpy)
            print(json.dumps({
                "bench": "select", "case": {"n": n, "d": d}, "value": run["us"],
                "min": run["min_us"], "max": run["max_us"], "unit": "us", "better": "lower",
                "reference": "phi S, V I, triangles of G and H at the rate of a GEMM of 256 rows",
                "reference_value": run["floor_us"], "ratio": round(ratio, 3), "bound": bound(d),
                "numpy": round(beside, 2), "numpy_ratio": round(run["us"] / beside, 4),
                "formula": run["formula_us"],
                "formula_ratio": round(run["us"] / run["formula_us"], 5)}), flush=True)
            least = 4 if (n, d) == (8, 64) else 1  # times faster than NumPy
            within &= ratio <= bound(d) and beside >= least * run["us"]
    if not within:
        print("select: beyond a bound", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
