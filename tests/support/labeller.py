"""The labelling process of the tests: reads pairs read_committed, answers as theta would.

Another client than infopair's (librdkafka's Python binding with fastavro). The answer to a request
is drawn by a generator keyed by its id, so that it does not depend on the order. Every other label
carries no label_id, to see its default. Run as a program, it ends after --count labels with one
line of JSON; SIGTERM ends it early.
"""

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy  # noqa: E402
from confluent_kafka import KafkaError, KafkaException, TopicPartition  # noqa: E402

from support import contracts  # noqa: E402
from support.topics import Writer, partitions_of, reader  # noqa: E402


def outcome_of(request_id, probability_left, seed):
    random = numpy.random.default_rng([seed, int(request_id[:16], 16)])
    return "left" if random.random() < probability_left else "right"


class Labeller:
    """Answers pairs from the start of the topic on. probability_left(pair) is the world."""

    def __init__(self, brokers, pairs, labels, probability_left, seed=1):
        self.labels = labels
        self.probability_left = probability_left
        self.seed = seed
        self.answered = 0
        self.writer = Writer(brokers)
        self.consumer = reader(brokers)
        self.consumer.assign([TopicPartition(pairs, number, 0)
                              for number in partitions_of(self.consumer, pairs)])

    def step(self, timeout=0.1):
        """Answers at most one pair. True when it did."""
        message = self.consumer.poll(timeout)
        if message is None:
            return False
        if message.error() is not None:
            # A broker that went away comes back, or another takes its place.
            if message.error().code() != KafkaError._PARTITION_EOF \
                    and not message.error().retriable():
                raise KafkaException(message.error())
            return False
        if message.value() is None:  # a request that was taken back; this labeller is done with it
            return False
        self.answer(contracts.decode("pair", message.value()))
        return True

    def answer(self, pair):
        outcome = outcome_of(pair["request_id"], self.probability_left(pair), self.seed)
        more = {"label_id": f"label-{pair['request_id']}"} if self.answered % 2 else {}
        label = contracts.label(pair["request_id"], outcome, annotator_id="simulated",
                                labelled_at=int(time.time() * 1000), **more)
        self.send(contracts.encode("label", label), pair["request_id"].encode())
        self.answered += 1

    def send(self, label, key):
        self.writer.send(self.labels, label, key=key)

    def run(self, count, stopped):
        """Answers until there are `count` answers or it is stopped; may be called again."""
        while self.answered < count and not stopped.is_set():
            self.step()
        self.writer.flush()

    def close(self):
        self.consumer.close()


def main():
    from support import alpaca
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    world = alpaca.load()

    def probability_left(pair):
        prompt = pair["prompt_id"]
        return world.probability_left(world.row_of[prompt, contracts.side(pair, "left")],
                                      world.row_of[prompt, contracts.side(pair, "right")])

    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    labeller = Labeller(chosen.brokers, chosen.pairs, chosen.labels, probability_left, chosen.seed)
    labeller.run(chosen.count, stopped)
    labeller.close()
    print(json.dumps({"labels": labeller.answered}), flush=True)


if __name__ == "__main__":
    main()
