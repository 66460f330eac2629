"""Rules of every shape, and pools that are asked one by one, under load and SIGKILL.

Each case is a worker of its own on a broker of its own: it is killed twice, and every promise is
asserted from the topics alone; then what the pairs say of their choice.
"""

import signal
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.faults import Clock, Scene  # noqa: E402
from support.ledger import read_run  # noqa: E402

PARTS = {"score", "weight", "variance", "policy", "margin", "reward_left", "reward_right"}


def killed_twice(chosen, name, options):
    """The run of a scene with these options."""
    with Scene(chosen, options=options) as scene:
        ready = []
        for _ in range(2):
            scene.live(1)
            assert scene.workers[0].kill() == -signal.SIGKILL
            clock = Clock()
            scene.workers[0].start(ready=True)
            ready.append(clock.seconds())
            scene.await_progress()
        run = scene.verdict(name, 2, ready)
        check_reasons(run)
        return run


def check_reasons(run):
    """Each pair carries the numbers behind it, and a propensity that is one."""
    assert run.pairs, "nothing was asked"
    for pair in run.pairs:
        assert PARTS <= pair["reason_parts"].keys(), pair["reason_parts"]
        assert 0 < pair["propensity"] <= 1 + 1e-9, pair["propensity"]
        sides = pair["reason_parts"]["reward_left"] - pair["reason_parts"]["reward_right"]
        assert abs(sides - pair["reason_parts"]["margin"]) < 1e-6 * (1 + abs(sides))
        assert abs(pair["score_weight"]) <= 0.25


def selectors(run):
    return Counter(pair["selector"] for pair in run.pairs)


def main():
    chosen = environment.arguments(__doc__)
    run = killed_twice(chosen, "drawn pairs of each pool",
                       {"selection.rule": "dts", "selection.when": "pool",
                        "selection.epsilon": 0.2, "budget.per_second": 200})
    assert selectors(run)["dts"] > selectors(run)["uniform"] > 0
    run = killed_twice(chosen, "a design of batches",
                       {"selection.rule": "trace_design", "selection.batch": 5,
                        "selection.candidates": 500})
    assert any("certificate" in pair["reason_parts"] for pair in run.pairs)
    assert all(pair["reason"].startswith("trace_design chose it from a list of")
               for pair in run.pairs if pair["selector"] == "trace_design")
    run = killed_twice(chosen, "a price", {"selection.when": "price", "selection.price_share": 0.5})
    assert run.of("price"), "no price in the ledger"
    run = killed_twice(chosen, "unweighted, by softmax",
                       {"selection.rule": "dopt_xx", "selection.draw": "softmax"})
    assert selectors(run)["dopt_xx"] > 0


if __name__ == "__main__":
    main()
