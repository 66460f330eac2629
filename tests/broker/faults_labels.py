"""Labels that come three times, on several partitions; labels that come long after their deadline,
and some too late.
"""

import random
import sys
import time
from collections import Counter, deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support import information  # noqa: E402
from support.faults import Clock, Scene  # noqa: E402
from support.labeller import Labeller  # noqa: E402

PARTITIONS = 3
HOUR = 3600 * 1000  # milliseconds
SLOW = {"labels.deadline": "2s", "labels.late": "6h", "budget.per_second": 100,
        "budget.in_flight": 600}
PATIENCE = 4  # seconds before the slow labeller answers: behind the deadline
LABELS = 500


class Thrice(Labeller):
    """Sends each label to a partition twice and to another one once."""

    def send(self, label, key):
        first = random.Random(key).randrange(PARTITIONS)
        for partition in (first, (first + 1) % PARTITIONS, first):
            self.writer.send(self.labels, label, key=key, partition=partition)


class Slow(Labeller):
    """Answers when the request has expired, and dates the answer hours later: most within
    labels.late, every tenth behind it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.desk = deque()

    def send(self, label, key):
        self.desk.append((time.monotonic() + PATIENCE, label, key))

    def step(self, timeout=0.1):
        while self.desk and self.desk[0][0] <= time.monotonic():
            _, label, key = self.desk.popleft()
            hours = 8 if random.Random(key).random() < .1 else 5
            self.writer.send(self.labels, label, key=key,
                             timestamp=int(time.time() * 1000) + hours * HOUR)
        return super().step(timeout)


def three_times(chosen):
    with Scene(chosen, workers=2, labeller=Thrice) as scene:
        scene.await_progress(LABELS)
        clock = Clock()
        scene.workers[0].kill()
        scene.workers[0].start(ready=True)
        ready = clock.seconds()
        scene.await_progress(LABELS)
        run = scene.verdict("every label three times", 3, [ready])
        times = Counter(entry.fields["request_id"] for entry in run.of("labelled"))
        print(f"{len(run.labels)} label records, {sum(times.values())} LABELLED of {len(times)} "
              "requests", flush=True)


def long_after_the_deadline(chosen):
    topics = {"labels": {"message_timestamp_after_max_ms": 24 * HOUR}}
    with Scene(chosen, workers=2, options=SLOW, size=3, labeller=Slow, topics=topics) as scene:
        scene.await_progress(LABELS)
        clock = Clock()
        scene.workers[0].kill()
        scene.workers[0].start(ready=True)
        ready = clock.seconds()
        scene.await_progress(LABELS)
        run = scene.verdict("labels hours after the deadline", 1, [ready])
        expired = information.freed(run.entries)
        late = information.answers(run.entries).keys() & expired
        print(f"{len(expired)} requests expired, {len(late)} of them answered later, "
              f"{len(run.dead_letters)} answers too late", flush=True)
        assert len(late) >= LABELS and run.dead_letters, "the labels were not late"


def main():
    chosen = environment.arguments(__doc__)
    three_times(chosen)
    long_after_the_deadline(chosen)


if __name__ == "__main__":
    main()
