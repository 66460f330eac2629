"""Poison in every topic that a worker reads, under load and at a restart: truncated and random
records, and ledger entries that are well encoded and wrong. None is applied, none stops a worker;
/ready names what the ledger holds until a worker is started with --accept-loss.
"""

import copy
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import contracts, judge  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.faults import DIMENSION, Clock, Scene  # noqa: E402
from support.ledger import FORGED, TOPICS  # noqa: E402
from support.topics import read_topic  # noqa: E402

NAN = numpy.full(DIMENSION, numpy.nan)
SHORT = numpy.ones(DIMENSION - 1)
RANDOM = 20  # records of random bytes in each topic


def poison(sound, random):
    """Records that are none, of a sound one: {what: bytes}."""
    found = {"empty": b"", "truncated": sound[:len(sound) // 2], "a frame alone": sound[:5],
             "wrong magic byte": b"\x07" + sound[1:], "bytes left over": sound + b"\0"}
    for number in range(RANDOM):
        found[f"random {number}"] = random.bytes(int(random.integers(1, 400)))
        found[f"random behind a frame {number}"] = sound[:5] + random.bytes(
            int(random.integers(1, 400)))
    return found


def lies():
    """Fields that make an entry wrong: (kind, what, {name: value})."""
    def single(values):
        return values.astype("<f4").tobytes()

    def double(values):
        return values.astype("<f8").tobytes()
    return [("Selected", "x is not finite", {"x": single(NAN)}),
            ("Selected", "x of another dimension", {"x": single(SHORT)}),
            ("Selected", "x of no whole number", {"x": b"123"}),
            ("Selected", "weight is not finite", {"weight": float("nan")}),
            ("Selected", "weight above 1/4", {"weight": 7.0}),
            ("Selected", "no such partition", {"completions_partition": -1}),
            ("Selected", "partition beyond all", {"completions_partition": 2 ** 31 - 1}),
            ("Selected", "request id is no hash", {"request_id": "nobody"}),
            ("Selected", "request id is not its own", {"request_id": uuid.uuid4().hex}),
            ("Selected", "pair id is not its own", {"pair_id": uuid.uuid4().hex}),
            ("Labelled", "probability is not finite", {"probability_left": float("nan")}),
            ("Labelled", "confidence is not finite", {"confidence": float("inf")}),
            ("Labelled", "x of another dimension", {"x": single(SHORT)}),
            ("Fit", "psi is not finite", {"psi": double(NAN)}),
            ("Fit", "psi of another dimension", {"psi": double(SHORT)}),
            ("Fit", "lambda is not finite", {"lambda": double(NAN[:1])}),
            ("Fit", "lambda is negative", {"lambda": double(-numpy.ones(1))}),
            ("Fit", "lapse is not finite", {"lapse": float("nan")}),
            ("Fit", "return rate is not finite", {"return_rate": float("nan")}),
            ("Moments", "sums are not finite", {"sums": single(numpy.full(36, numpy.inf))}),
            ("Moments", "sums of another dimension", {"sums": single(numpy.ones(35))}),
            ("Moments", "weight is not finite", {"weight": float("nan")}),
            ("Moments", "no such partition", {"completions_partition": -1}),
            ("Moments", "it ends before it begins", {"to": 1})]


def anew(kind, fields):
    """Makes an entry another one than that which it was copied from, which would be passed over as
    known already; sound as far as ids go."""
    if kind in ("Selected", "Labelled"):
        fields["prompt_id"] = f"forged-{uuid.uuid4()}"
        fields["pair_id"] = judge.pair_id_of(fields["prompt_id"], fields["left_id"],
                                             fields["right_id"])
        fields["request_id"] = judge.hash_parts(fields["feature_space"], fields["pair_id"], "1", "1")
    fresh = {"Selected": {"slot": 0}, "Labelled": {"label_id": uuid.uuid4().hex},
             "Fit": {"fit_id": 10 ** 6}, "Moments": {"from": 10 ** 9, "to": 10 ** 9 + 5}}
    fields.update(fresh[kind])


def forged(stage):
    """Wrong entries, encoded well: {what: bytes}."""
    sound = {}
    for record in read_topic(stage.brokers, TOPICS["ledger"]):
        if record.key != FORGED:
            entry = contracts.decode("ledger", record.value, names=True)
            sound[entry["body"][0].rsplit(".", 1)[-1]] = entry
    found = {}
    for kind, what, wrong in lies():
        entry = copy.deepcopy(sound[kind])
        anew(kind, entry["body"][1])
        entry["body"][1].update(wrong)
        found[f"{kind}: {what}"] = contracts.encode("ledger", entry)
    other_version = copy.deepcopy(sound["Selected"])
    anew("Selected", other_version["body"][1])
    found["another version"] = contracts.encode("ledger", {**other_version, "version": 99})
    return found


def write(stage, topic, records):
    for number, value in enumerate(records.values()):
        stage.write(topic, value, key=FORGED, partition=number % 3)
    stage.flush()
    return len(records)


def poison_inputs(scene, random):
    """Returns how many records of both inputs must be dead-lettered."""
    return sum(write(scene.stage, topic, poison(
        read_topic(scene.stage.brokers, TOPICS[topic])[0].value, random))
        for topic in ("completions", "labels"))


def poison_ledger(scene, random):
    """One lie after the other, so that it is seen which one a worker does not survive."""
    stage = scene.stage
    some = read_topic(stage.brokers, TOPICS["ledger"])[0].value
    count = write(stage, "ledger", poison(some, random))
    await_refused(scene, count)
    for what, value in forged(stage).items():
        count += write(stage, "ledger", {what: value})
        await_refused(scene, count, what)
    return count


def await_refused(scene, count, what="poison"):
    def refused():
        for worker in scene.stage.running():
            worker.must_live()
        counts = [worker.metric("infopair_ledger_refused_entries_total")
                  for worker in scene.workers]
        return counts == [count] * len(counts)
    eventually(refused, 20, f"{count} entries are refused, the last: {what}")


def restart(scene):
    """Seconds until both are ready again, which they are when told to go on without the entries."""
    worker = scene.workers[0]
    worker.kill()
    worker.start()
    eventually(lambda: refusal_said(worker), 60, "/ready names the refused entries at a restart")
    clock = Clock()
    for worker in scene.workers:
        worker.kill()
        worker.arguments = ("--accept-loss",)
        worker.start()
    scene.await_ready()
    return clock.seconds()


def refusal_said(worker):
    status, reasons = worker.get("/ready")
    return status == 503 and "refused" in reasons and "--accept-loss" in reasons


def main():
    chosen = environment.arguments(__doc__)
    random = numpy.random.default_rng(11)
    with Scene(chosen, workers=2) as scene:
        scene.await_progress(100)
        letters = poison_inputs(scene, random)
        refused = poison_ledger(scene, random)
        scene.await_progress(100)
        assert all(map(refusal_said, scene.workers)), [each.get("/ready") for each in scene.workers]
        ready = restart(scene)
        await_refused(scene, refused, "all, at a restart")
        scene.await_progress()
        run = scene.verdict("poison in each topic", letters + refused, [ready])
        assert len(run.dead_letters) == letters, f"{len(run.dead_letters)} dead letters"
        places = [judge.place_of_letter(letter) for letter in run.dead_letters]
        assert not judge.doubles(places), "a record dead-lettered twice"


if __name__ == "__main__":
    main()
