"""The engine driven over the alpaca pools without a broker, by a C program of the build.

The program `engine_alone` (build folder) is called as
    engine_alone --features F.npy --prompts PROMPTS.jsonl --theta THETA.npy --labels N --seed S
                 --rule policy_trace|uniform
It gives the rows of F (48 a prompt, ids as in PROMPTS.jsonl) to the engine under the options of the
real_loop test (pool.max 48, 60 requests under way, beta .5), answers each pair by
Bernoulli(sigma(theta'(phi_left - phi_right))), and prints JSON lines: {"left": row, "right": row}
for each asked pair in order, then one {"psi": [...], "scale": s} with the last FIT in the scale of
SPACE.
"""

import json
import subprocess
from dataclasses import dataclass

import numpy

from .environment import need_data


@dataclass
class Asked:
    left: numpy.ndarray   # rows
    right: numpy.ndarray
    psi: numpy.ndarray
    scale: float


def available(build):
    return (build / "engine_alone").exists()


def run(build, labels, seed, rule="policy_trace", sets=()):
    features, prompts, theta = need_data("alpaca/phi64.npy", "alpaca/prompts.jsonl",
                                         "alpaca/theta64.npy")
    done = subprocess.run(
        [build / "engine_alone", "--features", features, "--prompts", prompts, "--theta", theta,
         "--labels", str(labels), "--seed", str(seed), "--rule", rule,
         *(word for option in sets for word in ("--set", option))],
        capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"engine_alone ended with {done.returncode}: {done.stderr[-2000:]}"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    pairs, last = lines[:-1], lines[-1]
    assert len(pairs) >= labels, f"engine_alone asked {len(pairs)} pairs"
    return Asked(numpy.array([pair["left"] for pair in pairs[:labels]]),
                 numpy.array([pair["right"] for pair in pairs[:labels]]),
                 numpy.array(last["psi"]), last["scale"])
