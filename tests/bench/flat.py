"""Milliseconds a pick of one list of candidate pairs, against NumPy in the same run.

PICKS greedy picks from a list of COUNT pairs, by the library and by two programs in NumPy on one
thread: `plain` keeps the scores of all pairs, two or four passes over the list a pick; `lazy`
(dopt_xx only) keeps old scores as bounds and looks again at the BLOCK highest until the best is
known. Both are given the same list, and must pick the same pairs. "scoring": with the first scores of
all pairs; "picks": without. The reference is the faster of the two programs.
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

COUNTS = (10000, 100000)
DIMENSIONS = (64, 384)
PICKS = 200
# The rule, and the standard deviation of log |x| beyond that of normals: prompts differ in scale.
CASES = (("dopt_xx", 0), ("dopt_xx", .4), ("policy_trace", .4))
BLOCK = {64: (512, 2048), 384: (128, 512)}  # the faster of each for 1e4 and 1e5


class List:
    """A list as list_alone writes it."""

    def __init__(self, path, count, d):
        data = np.fromfile(path)
        parts = np.split(data, np.cumsum([count * d, count, d * d]))
        self.x = parts[0].reshape(count, d)
        self.weight = parts[1]
        self.inverse = parts[2].reshape(d, d)
        self.policy = parts[3].reshape(d, d)


def quadratic(x, a):
    return np.einsum("ij,ij->i", x @ a, x)


def plain_variance(given, picks):
    x, s, chosen = given.x, given.inverse.copy(), []
    q = quadratic(x, s)
    scored = time.perf_counter()
    for _ in range(picks):
        k = int(q.argmax())
        chosen.append(k)
        u = s @ x[k]
        c = 1 / (1 + x[k] @ u)
        g = x @ u
        g *= g
        g *= c
        q -= g
        q[k] = -np.inf
        s -= c * np.outer(u, u)
    return chosen, scored


def lazy_variance(given, picks, block):
    x, s, chosen = given.x, given.inverse.copy(), []
    q = quadratic(x, s)
    scored = time.perf_counter()
    known = np.zeros(len(x), int)
    for pick in range(picks):
        while known[k := int(q.argmax())] < pick:
            top = np.argpartition(q, len(q) - block)[-block:]
            top = top[known[top] < pick]
            q[top] = quadratic(x[top], s)
            known[top] = pick
        chosen.append(k)
        u = s @ x[k]
        s -= np.outer(u, u) / (1 + x[k] @ u)
        q[k] = -np.inf
        known[k] = picks
    return chosen, scored


def plain_trace(given, picks):
    x, w, s, chosen = given.x, given.weight, given.inverse.copy(), []
    v = s @ given.policy @ s
    q, r = quadratic(x, s), quadratic(x, v)
    scored = time.perf_counter()
    taken = np.zeros(len(x))
    for _ in range(picks):
        k = int((w * r / (1 + w * q) + taken).argmax())
        chosen.append(k)
        taken[k] = -np.inf
        us, vs = s @ x[k], v @ x[k]
        c, rho = w[k] / (1 + w[k] * (x[k] @ us)), x[k] @ vs
        g, h = x @ us, x @ vs
        q -= c * g * g
        r += c * c * rho * g * g - 2 * c * g * h
        cross = np.outer(us, vs)
        v += c * c * rho * np.outer(us, us) - c * (cross + cross.T)
        s -= c * np.outer(us, us)
    return chosen, scored


def timed(run, *given):
    begun = time.perf_counter()
    chosen, scored = run(*given)
    ended = time.perf_counter()
    return chosen, ended - begun, ended - scored


def library(build, rule, count, d, spread, picks, path):
    return environment.lines_of(build / "list_alone", "flat", rule, count, d, 2 * d, spread, picks, 1,
                                path)[0]


def compare(build, rule, count, d, spread, picks, runs, path):
    ours, after, references = [], [], {}
    for run in range(runs):
        found = library(build, rule, count, d, spread, picks, path)
        ours.append(found["seconds"])
        after.append(found["seconds"] - found["first"])
        given = List(path, count, d) if run == 0 else given
        programs = {"plain": (plain_trace if rule == "policy_trace" else plain_variance, given,
                              picks)}
        if rule == "dopt_xx":
            programs["lazy"] = (lazy_variance, given, picks, BLOCK[d][count > COUNTS[0]])
        for name, (program, *rest) in programs.items():
            chosen, *seconds = timed(program, *rest)
            if chosen != found["picks"]:
                raise RuntimeError(f"{rule}, {count} pairs, d = {d}: {name} picks other pairs")
            references.setdefault(name, []).append(seconds)
    for part, values in (("scoring", ours), ("picks", after)):
        times = {name: median(each[part == "picks"] for each in found)
                 for name, found in references.items()}
        name = min(times, key=times.get)
        each = [1e3 * value / picks for value in values]
        reference = 1e3 * times[name] / picks
        print(json.dumps({
            "bench": "flat", "case": {"rule": rule, "pairs": count, "d": d, "spread": spread,
                                      "picks": picks, "time": part, "runs": runs},
            "value": round(median(each), 4), "min": round(min(each), 4),
            "max": round(max(each), 4), "unit": "ms/pick", "better": "lower",
            "reference": f"NumPy, {name}", "reference_value": round(reference, 4),
            "ratio": round(median(each) / reference, 4), "same_picks": True,
            "all": {key: round(1e3 * value / picks, 4) for key, value in times.items()}}),
            flush=True)


def main():
    chosen = environment.arguments(__doc__, runs=3, scale=1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "list")
        for rule, spread in CASES:
            for count in COUNTS:
                for d in DIMENSIONS:
                    compare(chosen.build, rule, int(count * chosen.scale), d, spread, PICKS,
                            chosen.runs, path)


if __name__ == "__main__":
    main()
