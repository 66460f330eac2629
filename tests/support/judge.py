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


def place_of(record):
    return record.topic, record.partition, record.offset


def source_of(labelled):
    """Place of the record that LABELLED was made of."""
    return labelled["source_topic"], labelled["source_partition"], labelled["source_offset"]


def place_of_letter(letter):
    """Place of the record that a dead letter holds."""
    headers = letter.headers
    return (headers["infopair.topic"].decode(), int(headers["infopair.partition"]),
            int(headers["infopair.offset"]))


def doubles(values):
    return [value for value, count in Counter(values).items() if count > 1]


def carried(run):
    """What was LABELLED because its completions came again in another space, as in the ledger."""
    return [entry.fields for entry in sorted(run.of("labelled"),
                                             key=lambda entry: (entry.partition, entry.offset))
            if entry.fields["origin"] == "carried"]


def find_doubled(run):
    """What was done twice, a sentence each: a request_id in pairs or among SELECTED; a replica of a
    pair asked by the same attempt; a pair beyond its replicas; a slot spent; a label LABELLED or
    carried."""
    found = [f"request id {twice} in pairs" for twice in
             doubles(pair["request_id"] for pair in run.pairs)]
    selected = [entry.fields for entry in run.of("selected")]
    found += [f"request id {twice} SELECTED" for twice in
              doubles(fields["request_id"] for fields in selected)]
    found += [f"answer {twice[2]} of pair {twice[1]} asked twice in attempt {twice[3]}" for twice in
              doubles((*information.replica_of(fields), fields["attempt"]) for fields in selected)]
    # In another space it is another question, where its answer was not carried over.
    asked = Counter((pair["pair_id"], pair["attempt"], pair["feature_space"]) for pair in run.pairs)
    replicas = {pair["pair_id"]: pair["replicas"] for pair in run.pairs}
    found += [f"pair {pair_id} asked {count} times in attempt {attempt}, replicas {replicas[pair_id]}"
              for (pair_id, attempt, _), count in asked.items() if count > replicas[pair_id]]
    found += [f"slot {twice} spent" for twice in
              doubles((fields["completions_partition"], fields["slot"]) for fields in selected)]
    labelled = [entry.fields for entry in run.of("labelled")
                if entry.fields["origin"] != "carried"]
    found += [f"label {twice} LABELLED" for twice in doubles(map(source_of, labelled))]
    # A prompt in two partitions, as they were added, has a pool and an owner in each.
    found += [f"label {twice} carried" for twice in
              doubles((fields["label_id"], fields["source_partition"]) for fields in carried(run))]
    # Sent twice to two partitions, it may be accepted by the owners of both; of both one counts.
    found += [f"label id {twice} LABELLED" for twice in
              doubles((fields["label_id"], fields["source_partition"]) for fields in labelled)]
    return found


def check_nothing_doubled(run):
    found = find_doubled(run)
    assert not found, f"{len(found)} doubled, e.g. {found[0]}"
    assert all(1 <= pair["replica"] <= pair["replicas"] for pair in run.pairs), "replica range"


def find_lost(run):
    """What is gone, a sentence each: a pair without its SELECTED or the other way round; a label
    that is neither LABELLED nor dead-lettered nor a repetition of one (by its label_id)."""
    selected = {entry.fields["request_id"] for entry in run.of("selected")}
    pairs = {pair["request_id"] for pair in run.pairs}
    labelled = [entry.fields for entry in run.of("labelled")]
    known = {fields["label_id"] for fields in labelled}
    dealt_with = set(map(source_of, labelled)) | set(map(place_of_letter, run.dead_letters))
    return ([f"pair {lost} has no SELECTED" for lost in pairs - selected]
            + [f"SELECTED {lost} has no pair" for lost in selected - pairs]
            + [f"label {place_of(record)} is neither LABELLED nor dead-lettered"
               for record, label in run.labels if place_of(record) not in dealt_with
               and (label is None or label.get("label_id") not in known)])


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
    spaces = information.spaces(run.entries)
    for entry in run.of("selected"):
        fields = entry.fields
        x = spaces[fields["feature_space"]]["scale"] * (features_of(fields["prompt_id"], fields["left_id"]).astype(float)
                     - features_of(fields["prompt_id"], fields["right_id"]))
        held = numpy.frombuffer(fields["x"], "<f4")
        assert numpy.abs(held - x).max() <= tolerance * numpy.abs(x).max(), \
            f"x of request {fields['request_id']} is not the scaled difference of its features"


def check_labels_are_accepted_once(run, workers=1):
    """Every label sent is LABELLED exactly once, or dead-lettered, or a repetition of one; nothing
    else is LABELLED; each LABELLED repeats its SELECTED. Two of several workers may both accept a
    label that was sent to two partitions."""
    sent = {place_of(record): label for record, label in run.labels}
    labelled = [entry.fields for entry in run.of("labelled")
                if entry.fields["origin"] == "request"]
    sources = list(map(source_of, labelled))
    assert set(sources) <= sent.keys(), "LABELLED names a source that is no record"
    assert not set(sources) & set(map(place_of_letter, run.dead_letters)), \
        "a label both LABELLED and dead-lettered"
    found = [text for text in find_doubled(run) + find_lost(run) if text.startswith("label")]
    assert not found, f"{len(found)} labels, e.g. {found[0]}"
    twice = doubles(fields["label_id"] for fields in labelled)
    assert workers > 1 or not twice, f"label ids LABELLED twice: {twice[:3]}"
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


def carried_ids(run, spaces):
    """{(space, request_id that a request's label has there): fields of its SELECTED}."""
    hashes = {space: int(hash_parts(space), 16) for space in spaces}
    return {(space, f"{int(fields['request_id'], 16) ^ hashes[fields['feature_space']] ^ there:032x}"):
            fields for fields in (entry.fields for entry in run.of("selected"))
            for space, there in hashes.items() if space != fields["feature_space"]}


def words_of(labelled):
    return (labelled["outcome"], labelled["probability_left"], labelled["confidence"],
            labelled["annotator_id"])


def check_carried(run, features_of, tolerance=1e-5):
    """Each carried label repeats, in another space, one that was given to a request: the same sides,
    pair, arm and policy, the same words. x is the difference there. Of a request the first brings
    information; each later one replaces the one before and says something else."""
    spaces = information.spaces(run.entries)
    asked = carried_ids(run, spaces)
    given, before, seen = {}, {}, set()
    for entry in run.of("labelled"):
        if entry.fields["origin"] == "request":
            given.setdefault(entry.fields["request_id"], set()).add(words_of(entry.fields))
    for fields in carried(run):
        request_id, space = fields["request_id"], fields["feature_space"]
        who, request = f"carried label {fields['label_id']}", asked.get((space, request_id))
        assert request is not None, f"{who}: of no request"
        for name in ("pair_id", "prompt_id", "left_id", "right_id", "arm", "policy_version",
                     "policy_epoch"):
            assert fields[name] == request[name], f"{who} differs in {name}"
        # An attempt falls silent once another one turns out to hold the answer.
        silent = fields["outcome"] == "skip" and fields["supersedes"]
        assert silent or words_of(fields) in given[request["request_id"]], f"{who}: nobody has said so"
        sides = [features_of(fields["prompt_id"], fields[name]).astype(float)
                 for name in ("left_id", "right_id")]
        x = spaces[space]["scale"] * (sides[0] - sides[1])
        held = numpy.frombuffer(fields["x"], "<f4")
        assert numpy.abs(held - x).max() <= tolerance * numpy.abs(x).max(), \
            f"{who}: x is not the scaled difference of its features"
        if fields["label_id"] in seen:
            continue
        seen.add(fields["label_id"])
        number, last, words = before.get(request_id, (0, "", None))
        assert fields["label_id"] == f"carried-{request_id}-{number + 1}", f"{who} after {number}"
        assert fields["supersedes"] == last, f"{who} replaces {fields['supersedes']}, not {last}"
        assert words_of(fields) != words, f"{who} says what the one before it said"
        assert words is not None or fields["probability_left"] is not None, f"{who} says nothing"
        before[request_id] = number + 1, fields["label_id"], words_of(fields)


def check_requests_accounted(run, under_way, asking=information.DEFAULT):
    """Every request is answered (at this attempt or another one), expired, withdrawn or under way;
    under_way: how many the worker says are."""
    selected = {entry.fields["request_id"] for entry in run.of("selected")}
    answered = information.answers(run.entries).keys() - information.imported(run.entries).keys()
    gone = information.freed(run.entries, asking)
    assert answered <= selected and gone <= selected, "an answer or expiry without request"
    left = selected - answered - gone
    assert len(left) == under_way, \
        f"{len(left)} requests are neither answered nor gone, the worker counts {under_way}"


def check_budget(run, in_flight):
    """No more requests are under way than budget.in_flight; for runs at rest."""
    left = {entry.fields["request_id"] for entry in run.of("selected")} \
        - information.answers(run.entries).keys() - information.freed(run.entries)
    assert len(left) <= in_flight, f"{len(left)} requests are under way, the budget is {in_flight}"


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
    """Every completion is in an open pool or dead-lettered (held: what the workers count; only for
    runs in which no pool closes or overflows)."""
    refused = set(map(place_of_letter, run.dead_letters))
    good = [record for record in run.completions if place_of(record) not in refused]
    sent = {(record.partition, record.key, record.value) for record in good}
    prompts = {(record.partition, record.key) for record in good}
    assert held == len(sent), f"{len(sent)} completions sent, {held} in pools"
    assert pools == len(prompts), f"{len(prompts)} prompts, {pools} pools open"


def full_pools(run, size):
    """How many pools became ready by `size` completions."""
    refused = set(map(place_of_letter, run.dead_letters))
    counts = Counter((record.partition, record.key) for record in run.completions
                     if place_of(record) not in refused)
    return sum(count >= size for count in counts.values())


def check_panes(run, pools):
    """Panes of each partition are contiguous; every pool that became ready is in one."""
    panes = information.panes(run.entries)
    information.check_panes(panes)
    counted = sum(pane.pools for pane in panes)
    assert counted == pools, f"MOMENTS hold {counted} pools, {pools} became ready"


def check_fits(run):
    """fit_ids of a space are 1, 2, …, each once."""
    ids = {}
    for entry in run.of("fit"):
        ids.setdefault(entry.fields["feature_space"], []).append(entry.fields["fit_id"])
    for space, found in ids.items():
        assert sorted(found) == list(range(1, len(found) + 1)), f"{space}: fit ids {found[:10]}…"


def check_one_digest(run):
    assert len({entry.digest for entry in run.entries}) == 1, "digests of options differ"
    assert {entry.version for entry in run.entries} == {2}, "ledger versions"


def check_no_dead_letters(run):
    assert not run.dead_letters, f"{len(run.dead_letters)} dead letters: {run.dead_letters[0]}"


def check_trace(run, metrics, rules=None):
    """tr(I inverse(Sigma)) of a worker at rest is that of the ledger."""
    ours = information.policy_trace(run.entries, rules)
    theirs = metrics["infopair_policy_trace"]
    difference = abs(ours / theirs - 1)
    assert difference <= 1e-6, \
        f"tr(I inverse(Sigma)) is {theirs:.9g} in a worker, {ours:.9g} in its ledger"
    return ours, difference


def features_in(run):
    """features_of(prompt_id, completion_id), from the completions themselves."""
    refused = set(map(place_of_letter, run.dead_letters))
    found = {}
    for record in run.completions:
        if place_of(record) not in refused:
            completion = contracts.decode("completion", record.value)
            found[completion["prompt_id"], completion["completion_id"]] = numpy.frombuffer(
                completion["features"], "<f4")
    return lambda prompt_id, completion_id: found[prompt_id, completion_id]
