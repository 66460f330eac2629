"""Records that cannot be used become dead letters with their original bytes and the place they came
from; the good records around them are processed and the worker goes on.
"""

import copy
import io
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import fastavro  # noqa: E402
import numpy  # noqa: E402

from support import contracts, judge  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.environment import ROOT  # noqa: E402
from support.ledger import TOPICS, read_run  # noqa: E402
from support.stage import Stage  # noqa: E402
from support.topics import committed, ends, read_topic  # noqa: E402

DIMENSION = 8
LIMIT = 32 * 1024
OPTIONS = {"features.dimension": DIMENSION, "features.scale": 1, "limits.record": "32KiB",
           "pool.size": 4, "pool.max": 8, "pool.age": "2d", "moments.interval": "1s",
           "budget.per_second": 20, "budget.in_flight": 30, "seed": 3}
VALUES = numpy.linspace(-1, 1, DIMENSION)


def completion(**more):
    record = {"prompt_id": "p-bad", "completion_id": "c-bad", "values": VALUES, **more}
    values = record.pop("values")
    return contracts.encode("completion", contracts.completion(
        record.pop("prompt_id"), record.pop("completion_id"), values, **record))


def spoilt(position, value):
    values = VALUES.copy()
    values[position] = value
    return values


def label(request_id="nobody-asked", outcome="left", **more):
    return contracts.encode("label", contracts.label(request_id, outcome, **more))


def impossible_outcome():
    """A label whose enum index lies behind the last symbol: written by a schema with more."""
    schema = json.loads((ROOT / "schemas" / "label.avsc").read_text())
    schema = copy.deepcopy(schema)
    outcome = next(field for field in schema["fields"] if field["name"] == "outcome")
    branches = outcome["type"] if isinstance(outcome["type"], list) else [outcome["type"]]
    symbols = next(branch for branch in branches if isinstance(branch, dict))["symbols"]
    symbols += [f"more_{k}" for k in range(9)]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema),
                               contracts.label("nobody-asked", "more_8"))
    return struct.pack(">bI", 0, contracts.IDS["label"]) + out.getvalue()


def bad_completions():
    good = completion()
    frame = good[:5]
    return {
        "truncated": good[:len(good) // 2],
        "only a frame": frame,
        "part of a frame": good[:3],
        "empty": b"",
        "text": b'{"prompt_id": "p"}',
        "oversized": completion(text="x" * (LIMIT + 100)),
        "wrong magic byte": b"\x07" + good[1:],
        "unknown schema id": struct.pack(">bI", 0, 4711) + good[5:],
        "length beyond the end": frame + b"\xfe\xff\xff\xff\xff\xff\xff\x7f",
        "negative length": frame + b"\x03" + good[6:],
        "bytes left over": good + b"\0",
        "dimension too small": completion(values=VALUES[:-1]),
        "dimension too large": completion(values=numpy.append(VALUES, 0)),
        "no features": completion(values=[]),
        "NaN": completion(values=spoilt(3, numpy.nan)),
        "infinity": completion(values=spoilt(0, -numpy.inf)),
        "empty prompt_id": completion(prompt_id=""),
        "empty completion_id": completion(completion_id=""),
        "negative cost": completion(cost=-1.0),
    }


def bad_labels():
    good = label()
    return {
        "truncated": good[:-2],
        "empty": b"",
        "wrong magic byte": b"\x01" + good[1:],
        "unknown schema id": struct.pack(">bI", 0, 4711) + good[5:],
        "impossible outcome": impossible_outcome(),
        "probability above 1": contracts.encode("label", {
            "request_id": "nobody-asked", "outcome": None, "probability_left": 1.5}),
        "probability below 0": contracts.encode("label", {
            "request_id": "nobody-asked", "outcome": None, "probability_left": -0.1}),
        "confidence NaN": label(confidence=float("nan")),
        "confidence 0": label(confidence=0.0),
        "no id at all": label(request_id=None),
        "request id that is no hash": label(),
        "unknown request": label("0" * 32),
    }


def write_all(stage):
    """Bad records, each with good ones around it. Returns the good prompts."""
    random = numpy.random.default_rng(5)
    prompts = []
    for number, (name, value) in enumerate(bad_completions().items()):
        prompts.append(f"p-{number}")
        for k in range(6):
            if k == 3:
                stage.write("completions", value, key=b"bad", partition=number % 3,
                            timestamp=1700000000000 + number, headers=[("name", name.encode())])
            stage.write_completion(prompts[-1], f"c-{k}", random.normal(size=DIMENSION))
    for number, (name, value) in enumerate(bad_labels().items()):
        stage.write("labels", value, key=b"bad", partition=number % 3,
                    headers=[("name", name.encode())])
    stage.flush()
    return prompts


def answer_all(stage):
    """Labels for the pairs that are out, of a kind and at a time that nobody knows; before, one that
    names another pair than its request's. Returns how many good ones there were."""
    pairs = [contracts.decode("pair", record.value)
             for record in read_topic(stage.brokers, TOPICS["pairs"])]
    stage.write("labels", label(pairs[0]["request_id"], pair_id=pairs[1]["pair_id"]), key=b"bad",
                headers=[("name", b"pair of another request")])
    for pair in pairs:
        stage.write("labels", label(pair["request_id"], annotator_kind="oracle",
                                    labelled_at=4102444800000), key=pair["request_id"].encode())
    stage.flush()
    return len(pairs)


def bad_records(stage):
    """The bad records as they lie in the input topics: {(topic, partition, offset): Record}."""
    return {(record.topic, record.partition, record.offset): record
            for name in ("completions", "labels")
            for record in read_topic(stage.brokers, TOPICS[name]) if record.key == b"bad"}


def check_letter(letter, original):
    name = original.headers["name"].decode()
    assert (letter.value or b"") == original.value, f"{name}: the dead letter has other bytes"
    assert letter.key == original.key, f"{name}: key {letter.key}"
    headers = {key: value.decode() for key, value in letter.headers.items()
               if key.startswith("infopair.")}
    assert int(headers["infopair.timestamp"]) == original.timestamp, f"{name}: {headers}"
    assert headers["infopair.stage"], f"{name}: no stage"
    assert len(headers["infopair.reason"]) > 8, f"{name}: reason {headers['infopair.reason']!r}"
    if name == "unknown request":
        assert "aborted-or-unknown" in headers["infopair.stage"] + headers["infopair.reason"], headers
    if name == "pair of another request":
        wrong = contracts.decode("label", original.value)
        assert wrong["pair_id"] in headers["infopair.reason"], headers
        assert wrong["request_id"] in headers["infopair.reason"], headers
    topic = original.topic.rsplit(".", 1)[-1]
    print(f"{topic}, {name}: {headers['infopair.stage']}: {headers['infopair.reason']}")


def check_dead_letters(stage):
    bad = bad_records(stage)
    assert len(bad) == len(bad_completions()) + len(bad_labels()) + 1
    letters = read_topic(stage.brokers, TOPICS["dead_letters"])
    places = [judge.place_of_letter(letter) for letter in letters]
    assert not judge.doubles(places), f"dead-lettered twice: {judge.doubles(places)}"
    missing = {bad[place].headers["name"].decode() for place in bad.keys() - set(places)}
    assert not missing, f"no dead letter for {missing}"
    extra = set(places) - bad.keys()
    assert not extra, f"good records dead-lettered: {extra}"
    for letter, place in zip(letters, places):
        check_letter(letter, bad[place])


def consumed(stage):
    stage.worker.must_live()
    return all(max(committed(stage.brokers, "infopair", topic)[number].offset, 0) == end
               for topic in (TOPICS["completions"], TOPICS["labels"])
               for number, end in ends(stage.brokers, topic).items())


def main():
    chosen = environment.arguments(__doc__)
    with Stage(chosen.build, OPTIONS, chosen.keep) as stage:
        stage.worker.start(ready=True)
        prompts = write_all(stage)
        eventually(lambda: len(read_topic(stage.brokers, TOPICS["pairs"])) >= 30, 60,
                   "pairs of the good completions")
        labels = answer_all(stage)
        eventually(lambda: consumed(stage), 60, "all inputs are consumed", every=0.5)
        # The page follows a commit.
        eventually(lambda: stage.worker.metrics()["infopair_clock_ahead_total"] == labels, 20,
                   "each good label was dated ahead")
        metrics = stage.worker.metrics()
        assert metrics["infopair_completions_held"] == 6 * len(prompts)
        assert metrics["infopair_pools_open"] == len(prompts)
        assert metrics["infopair_aborted_or_unknown_total"] == 1
        check_dead_letters(stage)
        run = read_run(stage.brokers)
        assert len(run.of("labelled")) == labels, "good labels were not all accepted"
        judge.check_nothing_doubled(run)
        judge.check_pairs_are_the_selected(run)
        judge.check_labels_are_accepted_once(run)
        assert stage.worker.get("/ready")[0] == 200
        assert stage.worker.terminate() == 0
    print(f"{len(bad_completions()) + len(bad_labels()) + 1} bad records, {6 * len(prompts)} good "
          f"completions, {labels} good labels")


if __name__ == "__main__":
    main()
