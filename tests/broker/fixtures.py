"""The tools of the tests themselves: the broker starts, keeps what it is given and ends; the proxy
before it lets everything pass, or does the harm that it is told to; and the judge passes a sound run
and catches each broken promise.
"""

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402
from confluent_kafka import KafkaException, Producer  # noqa: E402

from support import information, judge  # noqa: E402
from support.kafka import QUIET, KafkaCluster  # noqa: E402
from support.ledger import Entry, Run  # noqa: E402
from support.proxy import DROP, HOLD, LOSE, REFUSE, REPLACE, Proxy  # noqa: E402
from support.topics import Record, Writer, committed, ends, read_topic  # noqa: E402

DIMENSION = 3
SCALE = 2.0


def check_broker():
    with KafkaCluster() as kafka:
        kafka.create_topic("words", 2, retention_ms=3600000)
        writer = Writer(kafka.brokers)
        for number in range(100):
            writer.send("words", b"value %d" % number, key=b"key %d" % number, headers=[("h", b"x")])
        writer.flush()
        records = read_topic(kafka.brokers, "words")
        assert sorted(record.value for record in records) == sorted(
            b"value %d" % number for number in range(100))
        assert records[0].headers == {"h": b"x"}
        assert sum(ends(kafka.brokers, "words").values()) == 100
        assert set(committed(kafka.brokers, "nobody", "words")) == {0, 1}
        check_proxy(kafka)
        process = kafka.broker().process
    assert not process.alive() and not kafka.folder.exists()


NOT_LEADER, COORDINATOR_NOT_AVAILABLE = 6, 15
HARM = [("Produce", DROP, 0), ("Produce", LOSE, 0), ("Produce", REPLACE, NOT_LEADER),
        ("AddPartitionsToTxn", DROP, 0), ("AddPartitionsToTxn", LOSE, 0),
        ("AddPartitionsToTxn", REPLACE, COORDINATOR_NOT_AVAILABLE),
        ("EndTxn", DROP, 0), ("EndTxn", LOSE, 0),
        ("EndTxn", REFUSE, COORDINATOR_NOT_AVAILABLE),
        ("EndTxn", REPLACE, COORDINATOR_NOT_AVAILABLE)]


def transaction(producer, value):
    """One record in a transaction, aborted and sent again where that is asked for."""
    while True:
        try:
            producer.begin_transaction()
            producer.produce("harmed", value)
            producer.commit_transaction(20)
            return
        except KafkaException as trouble:
            if not trouble.args[0].txn_requires_abort():
                raise
            producer.abort_transaction(20)


def transactional_producer(address, slot):
    producer = Producer({"bootstrap.servers": address, "transactional.id": slot, "logger": QUIET,
                         "retry.backoff.ms": 10})
    producer.init_transactions(20)
    return producer


def check_proxy(kafka):
    """A transaction through the proxy, one under each harm, and one that never ends: every one but
    the last is there once."""
    kafka.create_topic("harmed")
    with Proxy(kafka.broker()) as proxy:
        producer = transactional_producer(proxy.address, "harmed")
        transaction(producer, b"unharmed")
        assert proxy.seen["Produce"] == proxy.seen["EndTxn"] == 1, proxy.seen
        for api, harm, code in HARM:
            injection = proxy.inject(api, harm, code)
            transaction(producer, str(injection).encode())
            assert injection.done == 1, f"{injection}: {injection.done} times"
        held = proxy.inject("EndTxn", HOLD)
        producer.begin_transaction()
        producer.produce("harmed", b"held")
        try:
            producer.commit_transaction(2)
        except KafkaException as overdue:
            assert overdue.args[0].retriable() and held.done == 1
        transactional_producer(kafka.brokers, "harmed")  # ends it
    expected = [b"unharmed"] + [str(injection).encode() for injection in proxy.injections[:-1]]
    assert [record.value for record in read_topic(kafka.brokers, "harmed")] == expected


class Sound:
    """A small run that keeps every promise: 6 prompts of 3 completions, 8 requests, 6 labels, one
    FIT, moments under psi = 0 and under the FIT."""

    def __init__(self):
        self.random = numpy.random.default_rng(4)
        self.features = {(f"p{p}", f"c{c}"): self.random.normal(size=DIMENSION).astype("f4")
                         for p in range(6) for c in range(3)}
        self.run = Run([], [], [], [], [])
        self._add(0, "space", feature_space="s", dimension=DIMENSION, scale=SCALE, pools=50)
        self.psi = numpy.array([.5, -.2, .1])
        self._add(2, "fit", fit_id=1, feature_space="s", psi=self.psi.tobytes(), lapse=0.0,
                  return_rate=0.9, **{"lambda": numpy.array([1.5]).tobytes()})
        self.first = self._moments(0, 5, fit_id=0, pools=100)
        self.second = self._moments(5, 9, fit_id=1, pools=60)
        for slot in range(8):
            self._request(slot, fit_id=slot // 4)
        for number in range(6):
            self._label(number, "left" if number % 2 else "tie")

    def _add(self, partition, kind, **fields):
        self.run.entries.append(Entry(kind, fields, partition, len(self.run.entries), 0, "w", "d", 2))

    def _moments(self, start, end, fit_id, pools):
        root = self.random.normal(size=(DIMENSION, DIMENSION))
        matrix = root @ root.T * pools
        packed = information.pack(matrix).astype("<f4")
        for chunk, part in enumerate(numpy.array_split(packed, 2)):
            self._add(1, "moments", completions_partition=0, to=end, fit_id=fit_id, pools=pools,
                      weight=float(pools), dimension=DIMENSION, chunk=chunk, chunks=2,
                      sums=part.tobytes(), feature_space="s", policy_epoch=0, stream_time=end,
                      **{"from": start})
        return matrix / pools

    def _request(self, slot, fit_id):
        prompt, left, right = f"p{slot % 6}", f"c{slot // 6}", "c2"
        x = SCALE * (self.features[prompt, left] - self.features[prompt, right])
        pair_id = judge.pair_id_of(prompt, left, right)
        common = {"request_id": judge.hash_parts("s", pair_id, "1", "1"), "pair_id": pair_id,
                  "prompt_id": prompt, "arm": "selected", "propensity": 1.0, "feature_space": "s",
                  "policy_version": "v", "replica": 1, "attempt": 1, "deadline": 9}
        self._add(1 + slot % 2, "selected", left_id=left, right_id=right, x=x.tobytes(),
                  weight=.2, fit_id=fit_id, completions_partition=0, slot=slot, policy_epoch=0,
                  issued_at=5, **common)
        self.run.pairs.append({**common, "left_completion_id": left,
                               "right_completion_id": right, "replicas": 1})

    def _label(self, number, outcome):
        request = [e.fields for e in self.run.entries if e.kind == "selected"][number]
        label = {"request_id": request["request_id"], "outcome": outcome, "label_id": None}
        self.run.labels.append((Record("labels", 0, number, 0, b"", b""), label))
        self._add(number % 3, "labelled", origin="request", label_id=f"labels-0-{number}",
                  source_topic="labels", source_partition=0, source_offset=number, annotator_id="",
                  outcome=outcome, confidence=1.0, probability_left=1.0 if outcome == "left" else .5,
                  **{name: request[name] for name in (
                      "request_id", "pair_id", "prompt_id", "left_id", "right_id", "x", "arm",
                      "feature_space", "policy_version", "policy_epoch")})

    def features_of(self, prompt_id, completion_id):
        return self.features[prompt_id, completion_id]


def judge_all(sound, run):
    judge.check_no_dead_letters(run)
    judge.check_nothing_doubled(run)
    judge.check_pairs_are_the_selected(run)
    judge.check_identities(run)
    judge.check_pairs_differ(run, sound.features_of)
    judge.check_differences(run, sound.features_of)
    judge.check_labels_are_accepted_once(run)
    judge.check_requests_accounted(run, under_way=2)
    judge.check_panes(run, pools=160)
    judge.check_fits(run)
    judge.check_one_digest(run)


def first(run, kind):
    return next(entry for entry in run.entries if entry.kind == kind)


def breaks():
    """Name: a change of a sound run that breaks a promise."""
    def moments_twice(run):
        again = copy.deepcopy([entry for entry in run.entries if entry.kind == "moments"][-2:])
        for entry in again:
            entry.fields["from"] = 7
        run.entries += again

    def compare_with_itself(run):
        run.pairs[0]["right_completion_id"] = run.pairs[0]["left_completion_id"]
        first(run, "selected").fields["right_id"] = run.pairs[0]["left_completion_id"]

    def slot_again(run):
        selected = [entry for entry in run.entries if entry.kind == "selected"]
        selected[1].fields["slot"] = selected[0].fields["slot"]

    return {
        "a pair twice": lambda run: run.pairs.append(run.pairs[0]),
        "a request twice": lambda run: run.entries.append(first(run, "selected")),
        "a pair without request": lambda run: run.entries.remove(first(run, "selected")),
        "a request without pair": lambda run: run.pairs.pop(),
        "a label counted twice": lambda run: run.entries.append(first(run, "labelled")),
        "a label lost": lambda run: run.entries.remove(first(run, "labelled")),
        "moments counted twice": moments_twice,
        "compared with itself": compare_with_itself,
        "a slot spent twice": slot_again,
        "x turned round": lambda run: first(run, "selected").fields.update(
            x=(-numpy.frombuffer(first(run, "selected").fields["x"], "<f4")).tobytes()),
        "another outcome": lambda run: first(run, "labelled").fields.update(outcome="right"),
        "another digest": lambda run: setattr(run.entries[-1], "digest", "other"),
        "a fit missing": lambda run: first(run, "fit").fields.update(fit_id=2),
    }


def check_judge():
    sound = Sound()
    judge_all(sound, sound.run)
    for name, change in breaks().items():
        broken = copy.deepcopy(sound.run)
        change(broken)
        try:
            judge_all(sound, broken)
        except AssertionError as finding:
            print(f"{name}: {finding}")
        else:
            raise AssertionError(f"the judge did not see: {name}")


def label_again(run, partition):
    """The first label, which has a label_id, comes again and is accepted again."""
    label = {**run.labels[0][1], "label_id": "again"}
    entry = first(run, "labelled")
    entry.fields["label_id"] = "again"
    run.labels[0] = (run.labels[0][0], label)
    run.labels.append((Record("labels", partition, 99, 0, b"", b""), label))
    entry = copy.deepcopy(entry)
    entry.fields.update(source_partition=partition, source_offset=99)
    run.entries.append(entry)


def passes(run, workers):
    try:
        judge.check_labels_are_accepted_once(run, workers)
        judge.check_nothing_doubled(run)
    except AssertionError:
        return False
    return True


def check_several_workers():
    """The owners of two labels partitions may both accept one label, the owner of one may not."""
    for partition, workers, allowed in ((1, 2, True), (1, 1, False), (0, 2, False)):
        run = copy.deepcopy(Sound().run)
        label_again(run, partition)
        assert passes(run, workers) == allowed, f"again in partition {partition}, {workers} workers"


def check_trace():
    """tr(I inverse(Sigma)) of the sound run, from sums written out by hand."""
    sound = Sound()
    requests = [entry.fields for entry in sound.run.of("selected")]
    sigma = 1.5 * numpy.eye(DIMENSION)
    for number, fields in enumerate(requests):
        x = numpy.frombuffer(fields["x"], "<f4").astype(float)
        chance = 1 / (1 + numpy.exp(-(x * sound.psi).sum()))
        weight = .2 if number >= 4 else chance * (1 - chance)
        sigma += (1 if number < 6 else .9) * weight * numpy.outer(x, x)
    expected = numpy.trace(sound.second @ numpy.linalg.inv(sigma))
    found = information.policy_trace(sound.run.entries)
    assert abs(found / expected - 1) < 1e-6, f"{found} is not {expected}"


def main():
    check_judge()
    check_several_workers()
    check_trace()
    check_broker()


if __name__ == "__main__":
    main()
