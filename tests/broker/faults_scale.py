"""Everything that grows or shrinks under load: workers, partitions of the inputs, partitions of the
ledger; and a slot that is started twice.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.conditions import eventually  # noqa: E402
from support.faults import Clock, Scene  # noqa: E402
from support.ledger import TOPICS  # noqa: E402

FENCED = 3
OPTIONS = {"kafka.properties": "topic.metadata.refresh.interval.ms=2000"}  # so that growth is seen
PARTITIONS = 3
GROWN = 5
LOOK = 700  # labels, more than ten seconds of them: then every worker splits the budget anew


def await_all_pick(scene, writers):
    """Until each of the workers has picked anew."""
    for worker in writers:
        scene.await_pick(range(GROWN), 60, [worker])


def three_one_three(scene):
    first, *others = scene.workers
    await_all_pick(scene, scene.workers)
    clock = Clock()
    for worker in others:
        status = worker.terminate()
        assert status == 0, f"SIGTERM ended with {status}:\n{worker.log_tail()}"
    for partition in range(PARTITIONS):
        scene.await_pick([partition], 60, [first])
    ready = [clock.seconds()]
    scene.live(1)
    clock = Clock()
    for worker in others:
        worker.start()
    scene.await_ready(*others)
    await_all_pick(scene, scene.workers)
    ready.append(clock.seconds())
    scene.verdict("three workers to one to three", 2, ready)


def inputs_grow(scene):
    """New partitions are read: picks in those of completions, labels out of those of labels."""
    clock = Clock()
    ready = []
    scene.stage.kafka.grow(TOPICS["completions"], GROWN)
    for partition in range(PARTITIONS, GROWN):
        scene.await_pick([partition], 60)
    ready.append(clock.seconds())
    clock = Clock()
    scene.stage.kafka.grow(TOPICS["labels"], GROWN)
    for partition in range(PARTITIONS, GROWN):
        scene.await_entry(60, f"a label of partition {partition}",
                          lambda entry, new=partition: entry.kind == "labelled"
                          and entry.fields["source_partition"] == new)
    ready.append(clock.seconds())
    scene.await_progress(LOOK)
    scene.verdict("partitions of the inputs added", 2, ready)


def ledger_grows(scene):
    """The first partitions stay in use, also by a worker that starts later."""
    scene.stage.kafka.grow(TOPICS["ledger"], GROWN)
    scene.await_progress(labels=200)
    for worker in scene.workers:
        worker.must_live()
    assert scene.workers[0].terminate() == 0
    clock = Clock()
    scene.workers[0].start(ready=True)
    ready = clock.seconds()
    scene.await_progress()
    run = scene.verdict("partitions of the ledger added", 1, [ready])
    assert max(entry.partition for entry in run.entries) < PARTITIONS, "an entry in a new partition"


def slot_twice(scene):
    """The older of two workers in one slot is fenced, the younger goes on."""
    older = scene.workers[0]
    twin = scene.stage.add_worker({"kafka.instance": older.options["kafka.instance"]})
    clock = Clock()
    twin.start(ready=True)
    ready = clock.seconds()
    eventually(lambda: not older.alive(), 60, "the older one ends")
    assert older.status() == FENCED, f"ended with {older.status()}:\n{older.log_tail()}"
    twin.must_live()
    scene.await_progress()
    scene.verdict("one slot started twice", 1, [ready])


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, workers=3, options=OPTIONS) as scene:
        three_one_three(scene)
        for case in (inputs_grow, ledger_grows, slot_twice):
            scene.start()
            case(scene)


if __name__ == "__main__":
    main()
