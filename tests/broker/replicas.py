"""Two answers to each pair by different people, requests that nobody answers in time, late answers:
under load and SIGKILL, every promise, and what was asked how often.
"""

import random
import sys
import time
from collections import Counter, deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support import contracts, information  # noqa: E402
from support.faults import Clock, Scene  # noqa: E402
from support.labeller import Labeller, outcome_of  # noqa: E402

OPTIONS = {"labels.replicas": 2, "labels.attempts": 3, "labels.deadline": "2s",
           "labels.late": "6h", "budget.per_second": 400, "budget.in_flight": 1500,
           "budget.burst": 400}
PATIENCE = 3  # seconds until a late answer: while the second attempt is under way
LABELS = 300


class Several(Labeller):
    """Each replica is answered by another annotator; every sixth at the second attempt, and every
    sixth late at the first one."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.desk = deque()

    def answer(self, pair):
        draw = random.Random(f"{pair['pair_id']} {pair['replica']}").random()
        first = pair["attempt"] == 1
        if draw < 1 / 6 and first:
            self.desk.append((time.monotonic() + PATIENCE, pair))
        elif draw >= 1 / 3 or 1 / 6 <= draw and not first:
            self.say(pair)

    def say(self, pair):
        outcome = outcome_of(pair["request_id"], self.probability_left(pair), self.seed)
        label = contracts.label(pair["request_id"], outcome,
                                annotator_id=f"annotator {pair['replica']}")
        self.send(contracts.encode("label", label), pair["request_id"].encode())
        self.answered += 1

    def step(self, timeout=0.1):
        while self.desk and self.desk[0][0] <= time.monotonic():
            self.say(self.desk.popleft()[1])
        return super().step(timeout)


def check_asked(run):
    """Attempts go up one by one, each after the one before has run out; no answer twice in Sigma."""
    expired = {entry.fields["request_id"] for entry in run.of("expired")}
    replicas = {}
    for entry in run.of("selected"):
        fields = entry.fields
        replicas.setdefault(information.replica_of(fields), {})[fields["attempt"]] = fields
    counts = Counter()
    for (_, _, replica), attempts in replicas.items():
        assert sorted(attempts) == list(range(1, len(attempts) + 1)), sorted(attempts)
        assert len(attempts) <= 3 and 1 <= replica <= 2
        for number in range(2, len(attempts) + 1):
            assert attempts[number - 1]["request_id"] in expired, "asked again before its deadline"
            for name in ("arm", "propensity", "pair_id"):
                assert attempts[number][name] == attempts[1][name], name
            assert attempts[number]["issued_at"] >= attempts[number - 1]["deadline"]
        counts[len(attempts)] += 1
    counted = [key for request, fields in information.answers(run.entries).items() if fields
               for key in [next(information.replica_of(entry.fields) for entry in run.of("selected")
                                if entry.fields["request_id"] == request)]]
    assert len(counted) == len(set(counted)), "two attempts of one answer count"
    return counts


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, workers=2, options=OPTIONS, size=3, labeller=Several) as scene:
        ready = []
        for worker in scene.workers:
            scene.await_progress(LABELS)
            clock = Clock()
            worker.kill()
            worker.start(ready=True)
            ready.append(clock.seconds())
        scene.await_progress(LABELS)
        run = scene.verdict("answers of several, asked again", 2, ready)
        counts = check_asked(run)
        taken_back = len(run.withdrawn)
        print(f"{sum(counts.values())} answers wanted; asked once {counts[1]}, twice {counts[2]}, "
              f"three times {counts[3]}; {taken_back} attempts closed by a late answer", flush=True)
        assert counts[2] > 20, "hardly anything was asked again"
        assert taken_back > 20, "hardly a late answer closed an attempt"
        assert not run.dead_letters, f"{len(run.dead_letters)} dead letters"
        assert scene.workers[0].metrics()["infopair_requests_replicas_total"] > 0


if __name__ == "__main__":
    main()
