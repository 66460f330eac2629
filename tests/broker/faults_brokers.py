"""Three brokers, two workers: each broker killed and restarted under load, and the leaders of the
partitions moved.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.faults import Clock, Scene  # noqa: E402
from support.kafka import KafkaCluster  # noqa: E402
from support.ledger import TOPICS  # noqa: E402
from support.stage import INPUTS  # noqa: E402

BROKERS = 3
OUTPUTS = (TOPICS["pairs"], TOPICS["ledger"])


def kill_brokers(scene):
    kafka = scene.stage.kafka
    ready = []
    for number in range(1, BROKERS + 1):
        kafka.kill(number)
        clock = Clock()
        scene.await_progress(timeout=90)
        scene.await_ready()
        ready.append(clock.seconds())
        kafka.restart(number)
        scene.await_progress()
    scene.verdict("broker killed and restarted", BROKERS, ready)


def move_leaders(scene):
    kafka = scene.stage.kafka
    ready = []
    for topics in OUTPUTS, INPUTS, ("__transaction_state",), ("__consumer_offsets",):
        kafka.move_leaders(*topics)
        clock = Clock()
        scene.await_progress()
        scene.await_ready()
        ready.append(clock.seconds())
    scene.verdict("leaders moved", len(ready), ready)


def main():
    chosen = environment.arguments(__doc__)
    kafka = KafkaCluster(keep=chosen.keep, count=BROKERS)
    with Scene(chosen, workers=2, kafka=kafka) as scene:
        kill_brokers(scene)
        scene.start()
        move_leaders(scene)


if __name__ == "__main__":
    main()
