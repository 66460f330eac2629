"""SIGKILL at random moments under load: one worker, and two by turns."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support.faults import Clock, Scene  # noqa: E402


def kill_and_restart(scene, worker):
    """Seconds from the start of the new process until it is ready."""
    assert worker.kill() == -signal.SIGKILL
    clock = Clock()
    worker.start(ready=True)
    return clock.seconds()


def kills(scene, name, count, random):
    """Kills the running workers by turns, each time after up to two seconds of load."""
    ready = []
    for number in range(count):
        scene.live(random.uniform(0, 2))
        ready.append(kill_and_restart(scene, scene.workers[number % len(scene.workers)]))
    scene.verdict(name, count, ready)


def main():
    chosen = environment.arguments(__doc__, kills=5, seed=1)
    random = numpy.random.default_rng(chosen.seed)
    with Scene(chosen) as scene:
        kills(scene, "one worker killed", chosen.kills, random)
        scene.stage.add_worker().start(ready=True)
        scene.start()
        kills(scene, "two workers killed by turns", chosen.kills, random)


if __name__ == "__main__":
    main()
