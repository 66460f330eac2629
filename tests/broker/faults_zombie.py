"""A worker that stands still for longer than its session and wakes up: another has taken over; the
zombie is fenced, and rejoins or ends with exit code 3.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.conditions import eventually  # noqa: E402
from support.faults import Clock, Scene  # noqa: E402

FENCED = 3
TAKEOVER = 40  # seconds: a session, a transaction's timeout, and as much again


def freeze_until_taken_over(scene, zombie, other):
    """Seconds until the other picks where the zombie did."""
    partitions = scene.partitions_of(zombie)
    zombie.freeze()
    clock = Clock()
    scene.await_pick(partitions, TAKEOVER, [other])
    return clock.seconds()


def wake_up(scene, zombie):
    """Seconds until the slot of the zombie picks again."""
    zombie.thaw()
    clock = Clock()
    picks = []

    def fenced_or_back():
        picks.extend(entry for entry in scene.fresh() if entry.kind == "selected"
                     and entry.writer == zombie.options["kafka.instance"])
        return zombie.status() is not None or picks
    eventually(fenced_or_back, 60, "the zombie is fenced or picks again")
    if zombie.status() is not None:
        assert zombie.status() == FENCED, f"ended with {zombie.status()}:\n{zombie.log_tail()}"
        zombie.start()
    zombie.wait_ready()
    return clock.seconds()


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, workers=2) as scene:
        takeovers, ready = [], []
        for zombie, other in (scene.workers, reversed(scene.workers)):
            takeovers.append(freeze_until_taken_over(scene, zombie, other))
            ready.append(wake_up(scene, zombie))
            scene.await_progress()
        scene.verdict("worker frozen past its session", len(ready), ready,
                      takeover=f"{max(takeovers):.1f}")


if __name__ == "__main__":
    main()
