"""The promises of the protocol, asserted from the topics alone.

Each `check_` function reads as one promise and raises AssertionError with what broke it.
"""

import struct
from collections import Counter

import numpy
import xxhash

from . import contracts, information

ARMS = ("selected", "control", "probe")


def hash_parts(*parts):
    """XXH3 128-bit of the parts, each preceded by its length as 8 little-endian bytes, in hex."""
    state = xxhash.xxh3_128()
    for part in parts:
        data = part.encode()
        state.update(struct.pack("<Q", len(data)) + data)
    return state.hexdigest()


def pair_id_of(prompt_id, one, other):
    return hash_parts(prompt_id, *sorted((one, other), key=str.encode))


def doubles(values):
    return [value for value, count in Counter(values).items() if count > 1]


def check_nothing_doubled(run):
    """No request_id twice in pairs or among SELECTED; no replica of a pair asked twice by the same
    attempt; no pair beyond its replicas; no slot spent twice."""
    twice = doubles(pair["request_id"] for pair in run.pairs)
    assert not twice, f"{len(twice)} request ids twice in pairs, e.g. {twice[0]}"
    selected = [entry.fields for entry in run.of("selected")]
    twice = doubles(fields["request_id"] for fields in selected)
    assert not twice, f"{len(twice)} request ids SELECTED twice, e.g. {twice[0]}"
    asked = Counter((pair["pair_id"], pair["attempt"]) for pair in run.pairs)
    replicas = {pair["pair_id"]: pair["replicas"] for pair in run.pairs}
    for (pair_id, attempt), count in asked.items():
        assert count <= replicas[pair_id], \
            f"pair {pair_id} asked {count} times in attempt {attempt}, replicas {replicas[pair_id]}"
    assert all(1 <= pair["replica"] <= pair["replicas"] for pair in run.pairs), "replica range"
    twice = doubles((fields["completions_partition"], fields["slot"]) for fields in selected)
    assert not twice, f"slots spent twice: {twice[:3]}"


def check_pairs_are_the_selected(run):
    """Pairs and SELECTED are the same set, and agree in all that both say."""
    selected = {entry.fields["request_id"]: entry.fields for entry in run.of("selected")}
    pairs = {pair["request_id"]: pair for pair in run.pairs}
    assert pairs.keys() == selected.keys(), \
        (f"{len(pairs.keys() - selected.keys())} pairs without SELECTED, "
         f"{len(selected.keys() - pairs.keys())} SELECTED without pair")
    for request_id, fields in selected.items():
        pair = pairs[request_id]
        same = {"pair_id": pair["pair_id"], "prompt_id": pair["prompt_id"], "arm": pair["arm"],
                "propensity": pair["propensity"], "policy_version": pair["policy_version"],
                "feature_space": pair["feature_space"], "replica": pair["replica"],
                "attempt": pair["attempt"], "deadline": pair["deadline"],
                "left_id": contracts.side(pair, "left"), "right_id": contracts.side(pair, "right")}
        for name, value in same.items():
            assert fields[name] == value, \
                f"request {request_id}: {name} is {fields[name]} in SELECTED, {value} in the pair"


def check_identities(run):
    """pair_id and request_id are the hashes that the protocol says; arm and propensity in range."""
    for entry in run.of("selected"):
        fields = entry.fields
        pair_id = pair_id_of(fields["prompt_id"], fields["left_id"], fields["right_id"])
        assert fields["pair_id"] == pair_id, f"pair_id {fields['pair_id']} is not {pair_id}"
        request_id = hash_parts(fields["feature_space"], pair_id, str(fields["replica"]),
                                str(fields["attempt"]))
        assert fields["request_id"] == request_id, \
            f"request_id {fields['request_id']} is not {request_id}"
        assert fields["arm"] in ARMS and 0 < fields["propensity"] <= 1, f"propensity of {fields}"


def check_pairs_differ(run, features_of):
    """Never i = i, never two identical feature vectors. features_of(prompt_id, completion_id)."""
    for pair in run.pairs:
        left, right = contracts.side(pair, "left"), contracts.side(pair, "right")
        assert left != right, f"request {pair['request_id']} compares {left} with itself"
        same = numpy.array_equal(features_of(pair["prompt_id"], left),
                                 features_of(pair["prompt_id"], right))
        assert not same, f"request {pair['request_id']}: {left} and {right} have equal features"


def check_differences(run, features_of, tolerance=1e-5):
    """x of each SELECTED is scale (phi_left - phi_right)."""
    scale = information.space_in_force(run.entries)["scale"]
    for entry in run.of("selected"):
        fields = entry.fields
        x = scale * (features_of(fields["prompt_id"], fields["left_id"]).astype(float)
                     - features_of(fields["prompt_id"], fields["right_id"]))
        held = numpy.frombuffer(fields["x"], "<f4")
        assert numpy.abs(held - x).max() <= tolerance * numpy.abs(x).max(), \
            f"x of request {fields['request_id']} is not the scaled difference of its features"


def check_labels_are_accepted_once(run):
    """Every label sent is LABELLED exactly once, or dead-lettered, or a repetition of one (by its
    label_id); nothing else is LABELLED; each LABELLED repeats its SELECTED."""
    sent = {(record.topic, record.partition, record.offset): label for record, label in run.labels}
    labelled = [entry.fields for entry in run.of("labelled")]
    sources = [(fields["source_topic"], fields["source_partition"], fields["source_offset"])
               for fields in labelled]
    assert not doubles(sources), f"labels LABELLED twice: {doubles(sources)[:3]}"
    refused = {(letter.headers["infopair.topic"].decode(),
                int(letter.headers["infopair.partition"]), int(letter.headers["infopair.offset"]))
               for letter in run.dead_letters}
    assert set(sources) <= sent.keys(), "LABELLED names a source that is no record"
    label_ids = [fields["label_id"] for fields in labelled]
    assert not doubles(label_ids), f"label ids LABELLED twice: {doubles(label_ids)[:3]}"
    known = set(label_ids)
    repeated = {place for place, label in sent.items()
                if label is not None and label.get("label_id") in known}
    lost = sent.keys() - set(sources) - refused - repeated
    assert not lost, f"{len(lost)} labels neither LABELLED nor dead-lettered, e.g. {min(lost)}"
    assert not set(sources) & refused, "a label both LABELLED and dead-lettered"
    selected = {entry.fields["request_id"]: entry.fields for entry in run.of("selected")}
    for fields, source in zip(labelled, sources):
        check_labelled(fields, selected.get(fields["request_id"]), sent[source], source)


def check_labelled(fields, request, label, source):
    assert label is not None, f"LABELLED from {source}, which is no label"
    assert request is not None, f"LABELLED for {fields['request_id']}, which was never SELECTED"
    for name in ("pair_id", "prompt_id", "left_id", "right_id", "feature_space", "x", "arm",
                 "policy_version", "policy_epoch"):
        assert fields[name] == request[name], f"LABELLED {fields['label_id']} differs in {name}"
    default = f"{source[0]}-{source[1]}-{source[2]}"
    assert fields["label_id"] == (label.get("label_id") or default), \
        f"label_id {fields['label_id']}"
    assert fields["outcome"] == (label["outcome"] or "probability"), \
        f"outcome of {fields['label_id']}"
    expected = {"left": 1, "right": 0, "tie": .5, "both_bad": .5}.get(
        label["outcome"], label.get("probability_left"))
    assert fields["probability_left"] == expected, f"probability of {fields['label_id']}"


def check_requests_accounted(run, under_way):
    """Every request is answered, expired, withdrawn or under way; under_way: how many the worker
    says are."""
    selected = {entry.fields["request_id"] for entry in run.of("selected")}
    answered = information.answers(run.entries).keys()
    gone = information.freed(run.entries)
    assert answered <= selected and gone <= selected, "an answer or expiry without request"
    left = selected - answered - gone
    assert len(left) == under_way, \
        f"{len(left)} requests are neither answered nor gone, the worker counts {under_way}"


def check_inputs_consumed(committed, ends, completions_topic):
    """Committed offsets reach the end of every input partition; those of completions carry their
    low-water. Both: {topic: {partition: …}}."""
    for topic, places in ends.items():
        for partition, end in places.items():
            place = committed[topic][partition]
            assert max(place.offset, 0) == end, \
                f"{topic}/{partition}: committed {place.offset}, end {end}"
            if topic == completions_topic and end > 0:
                assert place.metadata, f"{topic}/{partition}: no low-water in the metadata"


def check_completions_held(run, held, pools):
    """Every completion is in an open pool (held: what the worker counts; only for runs in which no
    pool closes or overflows)."""
    sent = {(record.key, record.value) for record in run.completions}
    prompts = {record.key for record in run.completions}
    assert held == len(sent), f"{len(sent)} completions sent, {held} in pools"
    assert pools == len(prompts), f"{len(prompts)} prompts, {pools} pools open"


def check_panes(run, pools):
    """Panes of each partition are contiguous; every pool that became ready is in one."""
    panes = information.panes(run.entries)
    information.check_panes(panes)
    counted = sum(pane.pools for pane in panes)
    assert counted == pools, f"MOMENTS hold {counted} pools, {pools} became ready"


def check_fits(run):
    """fit_ids are 1, 2, …, each once."""
    ids = sorted(entry.fields["fit_id"] for entry in run.of("fit"))
    assert ids == list(range(1, len(ids) + 1)), f"fit ids {ids[:10]}…"


def check_one_digest(run):
    assert len({entry.digest for entry in run.entries}) == 1, "digests of options differ"
    assert {entry.version for entry in run.entries} == {1}, "ledger versions"


def check_no_dead_letters(run):
    assert not run.dead_letters, f"{len(run.dead_letters)} dead letters: {run.dead_letters[0]}"
