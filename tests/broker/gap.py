"""Over 8 seeds, without a broker: the trained policy's true gap is smaller with the selected pairs
than with as many uniform ones, on average and in at least 7 of 8.

gap = (1 / 2 beta) (psi - psi*)' I* (psi - psi*), psi mapped back from the scale of SPACE.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import alpaca, engine_alone  # noqa: E402

SEEDS = range(1, 9)


def gap(build, world, labels, seed, rule):
    asked = engine_alone.run(build, labels, seed, rule)
    return world.gap(asked.psi, asked.scale)


def main():
    chosen = environment.arguments(__doc__, labels=2000)
    if not engine_alone.available(chosen.build):
        environment.skip("engine_alone is not built")
    world = alpaca.load()
    selected, uniform = [], []
    for seed in SEEDS:
        selected.append(gap(chosen.build, world, chosen.labels, seed, "policy_trace"))
        uniform.append(gap(chosen.build, world, chosen.labels, seed, "uniform"))
        print(f"seed {seed}: gap {selected[-1]:.4f} selected, {uniform[-1]:.4f} uniform")
    wins = sum(one < other for one, other in zip(selected, uniform))
    print(f"mean {numpy.mean(selected):.4f} selected, {numpy.mean(uniform):.4f} uniform, "
          f"{wins} of {len(selected)} seeds")
    assert numpy.mean(selected) < numpy.mean(uniform)
    assert wins >= 7


if __name__ == "__main__":
    main()
