"""Asserts the promises of the state protocol from the event logs of simulate, a seed at a time.

Reads the log and nothing else: no code of the worker, the engine or the selectors is linked. A seed
that fails is printed with what broke and the command that replays it.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import information, judge, ledger  # noqa: E402

TYPES = {"x": "<f4", "sums": "<f4", "psi": "<f8", "lambda": "<f8", "centre": "<f8"}
BOUNDARIES = {"before an effect", "before the offsets", "before the commit", "commit not arrived",
              "commit of unknown outcome", "closed", "before the confirm", "confirmed",
              "restoring", "restored", "before a tick"}
MANY = 40  # with so many seeds, every boundary and every kind of event must have come


def entry_of(value, partition, offset):
    """A ledger.Entry, numbers packed as the topic holds them."""
    fields = {name: numpy.array(field, TYPES[name]).tobytes() if name in TYPES else field
              for name, field in value.items()}
    return ledger.Entry(value["kind"], fields, partition, offset, value["time"], value["writer"],
                        value["digest"], value["version"])


class Log:
    """A run: what was put in, and the transactions that were committed, in their order."""

    def __init__(self, lines):
        self.completions, self.labels, self.states = {}, {}, {}
        self.transactions, self.crashes = [], Counter()
        self.aborts = 0
        transaction = None
        for line in lines:
            event = json.loads(line)
            kind = event["event"]
            if kind == "run":
                self.options = SimpleNamespace(**event)
            elif kind in ("completion", "label"):
                inputs = self.completions if kind == "completion" else self.labels
                inputs[event["partition"], event["offset"]] = SimpleNamespace(**event)
            elif kind == "begin":
                transaction = SimpleNamespace(effects=[], offsets={}, now=event["now"])
            elif kind == "effect":
                transaction.effects.append(SimpleNamespace(**event))
            elif kind == "offsets":
                transaction.offsets = {(topic, partition): SimpleNamespace(next=at, low_water=low)
                                       for topic, partition, at, low in event["offsets"]}
            elif kind == "commit":
                self.transactions.append(self.decode(transaction))
            elif kind == "abort":
                self.aborts += 1
            elif kind == "crash":
                self.crashes[event["boundary"]] += 1
            elif kind == "state":
                self.states[event["who"]] = SimpleNamespace(**event)
        self.ended = kind == "end"
        self.long_lived = self.options.seed % 2 == 0

    @staticmethod
    def decode(transaction):
        of = defaultdict(list)
        for effect in transaction.effects:
            of[effect.output].append(effect)
        transaction.pairs = [effect.value for effect in of["pairs"]]
        transaction.entries = [entry_of(effect.value, effect.partition, effect.offset)
                               for effect in of["ledger"]]
        transaction.refused = [(letter.value["infopair.topic"],
                                int(letter.value["infopair.partition"]),
                                int(letter.value["infopair.offset"]))
                               for letter in of["dead_letters"]]
        return transaction

    def run(self):
        """The run as the topics would tell it."""
        letters = [effect.value for transaction in self.transactions
                   for effect in transaction.effects if effect.output == "dead_letters"]
        return ledger.Run(
            completions=[SimpleNamespace(key=record.prompt, value=record.completion)
                         for record in self.completions.values() if not record.broken],
            labels=[(SimpleNamespace(topic="labels", partition=partition, offset=offset),
                     None if record.broken else vars(record))
                    for (partition, offset), record in self.labels.items()],
            pairs=[pair for transaction in self.transactions for pair in transaction.pairs],
            entries=[entry for transaction in self.transactions for entry in transaction.entries],
            dead_letters=[SimpleNamespace(headers={name: text.encode()
                                                   for name, text in letter.items()})
                          for letter in letters])

    def ends(self):
        ends = Counter()
        for topic, records in (("completions", self.completions), ("labels", self.labels)):
            for partition, offset in records:
                ends[topic, partition] = max(ends[topic, partition], offset + 1)
        return ends


# ---- what holds at every commit ----

def places_of(transaction):
    """The input partitions that a transaction's effects belong to."""
    for entry in transaction.entries:
        if entry.kind in ("selected", "expired", "moments"):
            yield "completions", entry.fields["completions_partition"]
        elif entry.kind == "labelled":
            yield entry.fields["source_topic"], entry.fields["source_partition"]
        elif entry.kind == "fit":
            yield "labels", 0
    for topic, partition, _ in transaction.refused:
        yield topic, partition


def check_offsets(log):
    """Every transaction sends an offset of every partition that it has effects for; offsets never
    go back, and low-waters never pass them."""
    last = {}
    for number, transaction in enumerate(log.transactions):
        assert not transaction.effects or transaction.offsets, \
            f"transaction {number} has effects and no offsets"
        for place in places_of(transaction):
            assert place in transaction.offsets, \
                f"transaction {number} has effects of {place} and no offset for it"
        for place, at in transaction.offsets.items():
            before = last.get(place, SimpleNamespace(next=0, low_water=0))
            assert at.next >= before.next, f"{place}: offset {at.next} after {before.next}"
            assert place[0] == "labels" or at.low_water <= at.next, \
                f"{place}: low-water {at.low_water} above {at.next}"
            last[place] = at
        for entry in transaction.entries:
            if entry.kind == "moments":
                at = transaction.offsets["completions", entry.fields["completions_partition"]]
                assert entry.fields["to"] <= at.next, "a pane beyond the offset it is committed with"
    for place, end in log.ends().items():
        assert last[place].next == end, f"{place}: committed {last[place].next}, its end is {end}"


def check_atomic(log):
    """A pair and its SELECTED are in one transaction."""
    for number, transaction in enumerate(log.transactions):
        pairs = sorted(pair["request_id"] for pair in transaction.pairs)
        selected = sorted(entry.fields["request_id"] for entry in transaction.entries
                          if entry.kind == "selected")
        assert pairs == selected, f"transaction {number}: pairs {pairs}, SELECTED {selected}"


def check_nothing_is_passed(log):
    """No committed offset passes a record that is not dealt with: a label without LABELLED or dead
    letter, a broken completion without dead letter."""
    done, label_ids, position = set(), set(), Counter()
    for transaction in log.transactions:
        done.update(transaction.refused)
        for entry in transaction.entries:
            if entry.kind == "labelled":
                done.add((entry.fields["source_topic"], entry.fields["source_partition"],
                          entry.fields["source_offset"]))
                label_ids.add(entry.fields["label_id"])
        for (topic, partition), at in transaction.offsets.items():
            records = log.labels if topic == "labels" else log.completions
            for offset in range(position[topic, partition], at.next):
                record = records[partition, offset]
                good = not record.broken and (topic == "completions"
                                              or record.label_id in label_ids)
                assert good or (topic, partition, offset) in done, \
                    f"offset {at.next} of {topic} {partition} passes {offset}, which waits"
            position[topic, partition] = max(at.next, position[topic, partition])


def check_read_before_asked(log):
    """A pair is of two completions below the offset that it is committed with."""
    first = {}
    for (partition, offset), record in sorted(log.completions.items()):
        if not record.broken:
            first.setdefault((record.prompt, record.completion), (partition, offset))
    for transaction in log.transactions:
        for entry in transaction.entries:
            for name in ("left_id", "right_id") if entry.kind == "selected" else ():
                partition, offset = first[entry.fields["prompt_id"], entry.fields[name]]
                assert partition == entry.fields["completions_partition"], "a foreign partition"
                assert offset < transaction.offsets["completions", partition].next, \
                    f"request {entry.fields['request_id']} names a completion not read yet"


def check_expiry(log):
    """EXPIRED once, not before the deadline, and not for what was answered before."""
    deadline, gone = {}, set()
    for transaction in log.transactions:
        for entry in transaction.entries:
            request = entry.fields.get("request_id")
            if entry.kind == "selected":
                deadline[request] = entry.fields["deadline"]
            elif entry.kind == "labelled":
                gone.add(request)
            elif entry.kind == "expired":
                assert request not in gone, f"request {request} EXPIRED twice or after its answer"
                assert entry.time >= deadline[request], \
                    f"request {request} EXPIRED {deadline[request] - entry.time} ms early"
                gone.add(request)


def share(total, partitions, number):
    return total // partitions + (number < total % partitions)


def check_budget(log):
    """Each partition's requests keep to its share of the rate, the burst and the requests under
    way."""
    options = log.options
    rate = options.per_second / 1000 / options.partitions
    for number in range(options.partitions):
        burst = max(1, share(options.burst, options.partitions, number))
        level, last, under_way = burst, None, set()
        for transaction in log.transactions:
            for entry in transaction.entries:
                request = entry.fields.get("request_id")
                if entry.kind in ("labelled", "expired"):
                    under_way.discard(request)
                if entry.kind != "selected" or entry.fields["completions_partition"] != number:
                    continue
                issued = entry.fields["issued_at"]
                level = min(burst, level + rate * (issued - (last or issued)))
                assert level >= 1 - 1e-6, f"partition {number}: request {request} is over budget"
                level, last = level - 1, issued
                under_way.add(request)
                assert len(under_way) <= share(options.in_flight, options.partitions, number), \
                    f"partition {number}: {len(under_way)} requests under way"


# ---- what holds at the end ----

def check_space(run):
    assert len(run.of("space")) <= 1, "one worker wrote more than one SPACE"


def ready_prompts(log):
    """How many prompts had enough distinct completions for a pool to be ready, in the end."""
    held = defaultdict(set)
    for record in log.completions.values():
        if not record.broken:
            held[record.prompt].add(record.completion)
    return sum(len(completions) >= log.options.pool_min for completions in held.values())


def check_states(log, run):
    """The engine that lived and the one that was restored agree with the ledger and each other."""
    survivor, restored = log.states["survivor"], log.states["restored"]
    informative = sum(fields["outcome"] not in information.NO_INFORMATION
                      for fields in information.answers(run.entries).values())
    for state in (survivor, restored):
        judge.check_requests_accounted(run, state.open)
        assert state.requests == len(run.of("selected")), f"{state.who}: requests"
        assert state.counted == informative, f"{state.who}: {state.counted} labels in Sigma"
        assert (state.waiting, state.refused) == (0, 0), f"{state.who}: labels wait, or refused"
        if log.long_lived:
            judge.check_completions_held(run, state.held, state.pools)
        if state.inverse:
            check_matrices(state, run)


def check_matrices(state, run):
    sigma = information.labelled_information(run.entries)
    d = len(sigma)
    error = numpy.abs(sigma @ numpy.reshape(state.inverse, (d, d)) - numpy.eye(d)).max()
    assert error < 1e-9, f"{state.who}: Sigma differs from the ledger's by {error:.2g}"
    policy = information.policy_information(information.panes(run.entries))
    error = numpy.abs(policy - numpy.reshape(state.policy, (d, d))).max() / numpy.abs(policy).max()
    assert error < 1e-9, f"{state.who}: I differs from the ledger's by {error:.2g}"
    fit = information.newest_fit(run.entries)
    if fit is not None:
        assert numpy.frombuffer(fit["psi"]).tolist() == state.psi, f"{state.who}: psi"


def check_log(log):
    assert log.ended, "the log ends early"
    run = log.run()
    features = {(record.prompt, record.completion): numpy.array(record.features, numpy.float32)
                for record in log.completions.values() if not record.broken}

    def features_of(prompt, completion):
        return features[prompt, completion]

    check_offsets(log)
    check_atomic(log)
    check_nothing_is_passed(log)
    check_read_before_asked(log)
    check_expiry(log)
    judge.check_nothing_doubled(run)
    judge.check_pairs_are_the_selected(run)
    judge.check_identities(run)
    judge.check_pairs_differ(run, features_of)
    judge.check_labels_are_accepted_once(run)
    judge.check_fits(run)
    judge.check_one_digest(run)
    check_space(run)
    check_budget(log)
    if run.of("space"):
        judge.check_differences(run, features_of)
        if log.long_lived:
            judge.check_panes(run, ready_prompts(log))
        else:
            information.check_panes(information.panes(run.entries))
    check_states(log, run)
    return run


# ---- runs ----

def check_variety(crashes, kinds):
    """The schedules went everywhere."""
    missing = BOUNDARIES - crashes.keys()
    assert not missing, f"no crash at: {', '.join(sorted(missing))}"
    for kind in ("selected", "labelled", "expired", "fit", "moments", "space", "dead letter"):
        assert kinds[kind] > 0, f"no {kind} in any seed"


def simulate(program, seed):
    done = subprocess.run([program, str(seed)], capture_output=True, text=True)
    assert done.returncode == 0, f"simulate ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.splitlines()


def seeds_of(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate", default=str(environment.ROOT / "build" / "ci" / "simulate"),
                        help="the program (default build/ci/simulate)")
    parser.add_argument("--seeds", default="1-60", help="FIRST-LAST or one (default 1-60)")
    parser.add_argument("--log", type=Path, help="judge this log instead")
    chosen = parser.parse_args()
    crashes, kinds, aborts, events = Counter(), Counter(), 0, 0
    seeds = ["log"] if chosen.log else seeds_of(chosen.seeds)
    for seed in seeds:
        try:
            lines = chosen.log.read_text().splitlines() if chosen.log else \
                simulate(chosen.simulate, seed)
            log = Log(lines)
            run = check_log(log)
        except Exception as failure:
            print(f"seed {seed}: {type(failure).__name__}: {failure}")
            print(f"replay: {chosen.simulate} {seed} >LOG; {sys.argv[0]} --log LOG")
            if not isinstance(failure, AssertionError):
                raise
            sys.exit(1)
        crashes += log.crashes
        aborts += log.aborts
        events += len(lines)
        kinds.update(entry.kind for entry in run.entries)
        kinds["dead letter"] += len(run.dead_letters)
    print(f"{len(seeds)} seeds, {events} events, {aborts} aborts, crashes: "
          + ", ".join(f"{count} {boundary}" for boundary, count in sorted(crashes.items())))
    print("committed: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    if len(seeds) >= MANY:
        check_variety(crashes, kinds)


if __name__ == "__main__":
    main()
