"""Asserts the promises of the state protocol from the event logs of simulate, a seed at a time.

Reads the log and nothing else: no code of the worker, the engine or the selectors is linked; records
are decoded by another Avro library. A seed that fails is printed with what broke and the command
that replays it, and is shrunk: fewer turns, and without the faults that it does not need.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import budget, contracts, information, judge, ledger  # noqa: E402

BOUNDARIES = {"before the begin", "before an effect", "before the offsets", "before the commit",
              "unknown outcome", "before the confirm", "closed", "revoked", "taking over",
              "restoring", "restored", "before a tick"}
FAULTS = ("crash", "abort", "freeze", "timeout", "rebalance", "clock", "poison", "growth", "cut",
          "leave", "reload")
MANY = 200  # with so many seeds, every boundary and every kind of event must have come
TURNS = 20000


class Log:
    """A run: what was put in, and the transactions that were committed, in their order."""

    def __init__(self, lines):
        self.completions, self.labels, self.cut = {}, {}, {}
        self.states = defaultdict(list)
        self.transactions, self.crashes, self.counts = [], Counter(), Counter()
        self.ended = False
        open_transactions = {}
        for line in lines:
            event = json.loads(line)
            kind = event["event"]
            self.counts[kind] += 1
            if kind == "effect":
                open_transactions[event["transaction"]].effects.append(SimpleNamespace(**event))
            elif kind in ("completion", "label"):
                self.input(kind, event)
            elif kind == "begin":
                open_transactions[event["transaction"]] = SimpleNamespace(
                    effects=[], offsets={}, now=event["now"], worker=event["worker"])
            elif kind == "offsets":
                open_transactions[event["transaction"]].offsets = {
                    (topic, partition): SimpleNamespace(next=at, low_water=low)
                    for topic, partition, at, low, _ in event["offsets"]}
            elif kind == "commit":
                self.transactions.append(self.decode(open_transactions.pop(event["transaction"])))
            elif kind == "cut":
                self.cut[event["partition"]] = event["start"]
            elif kind == "crash":
                self.crashes[event["boundary"]] += 1
            elif kind == "state":
                self.states[event["when"]].append(
                    SimpleNamespace(**event, transactions=len(self.transactions)))
            elif kind == "run":
                self.options = SimpleNamespace(**event)
            elif kind == "limits":
                self.limits = SimpleNamespace(**event)
            elif kind == "groups":
                self.groups = event
            elif kind == "end":
                self.ended, self.events = True, event["events"]
        spaces = {record.value["feature_space"] for record in self.completions.values()
                  if not record.broken}
        self.rules = information.Rules(
            labels_window=self.options.labels_window, policy_window=self.options.policy_window,
            labels_versions=self.options.labels_versions, labels_gamma=self.options.labels_gamma,
            moments_gamma=self.options.moments_gamma, blocks=self.groups["blocks"],
            groups=tuple(self.groups["definitions"]))
        # No pool closes, overflows or is left behind by a newer space.
        options = self.options
        self.asking = information.Asking(options.skips_again, options.both_bad_ignored)
        self.all_held = (self.options.pool_age > 10 ** 8 and len(spaces) == 1
                         and self.options.slots)

    def input(self, kind, event):
        """A record of an input, decoded where it can be."""
        record = SimpleNamespace(broken=event["broken"], time=event["time"], value=None)
        if not record.broken:
            record.value = contracts.decode_body(kind, bytes.fromhex(event["record"]))
        inputs = self.completions if kind == "completion" else self.labels
        inputs[event["partition"], event["offset"]] = record

    @staticmethod
    def decode(transaction):
        of = defaultdict(list)
        for effect in transaction.effects:
            of[effect.output].append(effect)
        transaction.pairs = [contracts.decode_body("pair", bytes.fromhex(effect.value))
                             for effect in of["pairs"] if effect.value]
        transaction.notices = [bytes.fromhex(effect.headers["infopair.withdrawn"]).decode()
                               for effect in of["pairs"] if not effect.value]
        transaction.entries = [
            ledger.entry_in(contracts.decode_body("ledger", bytes.fromhex(effect.value),
                                                  names=True), effect.partition, effect.offset)
            for effect in of["ledger"]]
        transaction.letters = [SimpleNamespace(headers={name: bytes.fromhex(value) for name, value
                                                        in effect.headers.items()})
                               for effect in of["dead_letters"]]
        transaction.refused = [judge.place_of_letter(letter) for letter in transaction.letters]
        return transaction

    def run(self):
        """The run as the topics would tell it."""
        return ledger.Run(
            completions=[SimpleNamespace(topic="completions", partition=partition, offset=offset,
                                         key=record.value["prompt_id"],
                                         value=record.value["completion_id"])
                         for (partition, offset), record in self.completions.items()
                         if not record.broken],
            labels=[(SimpleNamespace(topic="labels", partition=partition, offset=offset),
                     record.value) for (partition, offset), record in self.labels.items()],
            pairs=[pair for transaction in self.transactions for pair in transaction.pairs],
            entries=[entry for transaction in self.transactions for entry in transaction.entries],
            dead_letters=[letter for transaction in self.transactions
                          for letter in transaction.letters])

    def start(self, partition):
        """Where the completions of a partition could be read from at the latest."""
        return self.cut.get(partition, 0)

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
    go back; low-waters of completions pass neither them nor the start of the unpublished pane."""
    last, panes = {}, Counter()
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
                number = entry.fields["completions_partition"]
                at = transaction.offsets["completions", number]
                assert entry.fields["to"] <= at.next, "a pane beyond the offset it is committed with"
                panes[number] = max(panes[number], entry.fields["to"])
        for (topic, number), at in transaction.offsets.items():
            assert topic == "labels" or at.low_water <= max(panes[number], log.start(number)), \
                f"low-water {at.low_water} of {number} passes the unpublished pane"
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
                                              or record.value["label_id"] in label_ids)
                assert good or (topic, partition, offset) in done, \
                    f"offset {at.next} of {topic} {partition} passes {offset}, which waits"
            position[topic, partition] = max(at.next, position[topic, partition])


def check_read_before_asked(log):
    """A pair is of two completions of its partition, below the offset that it is committed with."""
    first = {}
    for (partition, offset), record in sorted(log.completions.items()):
        if not record.broken:
            first.setdefault((partition, record.value["prompt_id"],
                              record.value["completion_id"]), offset)
    for transaction in log.transactions:
        for entry in transaction.entries:
            fields = entry.fields
            carried = entry.kind == "labelled" and fields["origin"] == "carried"
            asked = entry.kind == "selected"
            for name in ("left_id", "right_id") if asked or carried else ():
                partition = fields["completions_partition" if asked else "source_partition"]
                offset = first.get((partition, fields["prompt_id"], fields[name]))
                assert offset is not None, f"request {fields['request_id']}: of another partition"
                assert offset < transaction.offsets["completions", partition].next, \
                    f"request {fields['request_id']} names a completion not read yet"


def check_dead_letters(run):
    """No record has two dead letters."""
    twice = judge.doubles(map(judge.place_of_letter, run.dead_letters))
    assert not twice, f"dead-lettered twice: {twice[:3]}"


def check_expiry(log):
    """EXPIRED once, and not before the deadline."""
    deadline, gone = {}, set()
    for transaction in log.transactions:
        for entry in transaction.entries:
            request = entry.fields.get("request_id")
            if entry.kind == "selected":
                deadline[request] = entry.fields["deadline"]
            elif entry.kind == "expired":
                assert request not in gone, f"request {request} EXPIRED twice"
                assert entry.time >= deadline[request], \
                    f"request {request} EXPIRED {deadline[request] - entry.time} ms early"
                gone.add(request)


class Asked:
    """The attempts of one replica so far, in the order of commits."""

    def __init__(self):
        self.attempts = []     # fields of SELECTED
        self.over = set()      # request ids that brought nothing: EXPIRED, or skipped
        self.answered = set()  # workers that know of an answer
        self.informed = False


def check_attempt(log, fields, replicas, worker):
    """SELECTED comes when its replica may be asked, as far as the worker can know."""
    request, options = fields["request_id"], log.options
    space, pair, replica = information.replica_of(fields)
    asked, first = replicas[space, pair, replica], replicas[space, pair, 1].attempts
    number = fields["attempt"]
    assert number <= options.attempts, f"request {request}: attempt {number} of {options.attempts}"
    assert replica <= options.replicas, f"request {request}: answer {replica} of {options.replicas}"
    assert number == len(asked.attempts) + 1, \
        f"request {request}: attempt {number} after {len(asked.attempts)}"
    assert worker not in asked.answered, f"request {request} asks for what is answered"
    before = asked.attempts[-1] if number > 1 else None
    if before is not None:
        assert before["request_id"] in asked.over, f"request {request}: the one before is open"
    elif replica > 1 and options.best:
        assert fields["arm"] == "selected", f"request {request}: {fields['arm']} is repeated"
        assert replicas[space, pair, replica - 1].informed, \
            f"request {request}: the answer before told nothing"
    elif replica > 1:
        assert first, f"request {request}: answer {replica} before the first"
        before = first[0]
    if before is not None:
        for name in ("arm", "propensity"):
            assert fields[name] == before[name], f"request {request}: {name} changes"


def check_another(log, entry, key, worker, told):
    """A label that corrects none comes from somebody who has answered no other replica of the pair: as
    far as the worker knows, whose window may have forgotten the first."""
    for annotator, who, replica, issued in told:
        forgotten = entry.time - issued > log.options.labels_window
        assert (annotator != entry.fields["annotator_id"] or annotator == "" or who != worker
                or replica == key[2] or forgotten or entry.fields["supersedes"]), \
            f"request {entry.fields['request_id']}: {annotator} has answered {replica}"


def check_asking(log):
    """Attempts of a replica come one after the other, each when the one before has brought nothing,
    none when there is an answer; replicas as the options say; no annotator answers two replicas of a
    pair to one worker, while the window remembers the first."""
    replicas, of_request, issued_at, told = defaultdict(Asked), {}, {}, defaultdict(dict)
    replaced = set()
    workers = range(3)
    midway = log.states["midway"][0].transactions if log.states["midway"] else 0
    for number, transaction in enumerate(log.transactions):
        worker = transaction.worker
        if number == midway:
            for asked in replicas.values():
                asked.answered.update(workers if asked.answered else ())
        for entry in transaction.entries:
            fields = entry.fields
            request = fields.get("request_id")
            if entry.kind == "selected":
                check_attempt(log, fields, replicas, worker)
                key = information.replica_of(fields)
                replicas[key].attempts.append(fields)
                of_request[request] = key
                issued_at[request] = fields["issued_at"]
                log.counts["asked again"] += fields["attempt"] > 1
                log.counts["replicas"] += fields["replica"] > 1
            elif entry.kind == "expired":
                replicas[of_request[request]].over.add(request)
            elif entry.kind == "labelled" and request in of_request:
                key = of_request[request]
                if log.asking.answers(fields):
                    replicas[key].answered.add(worker)
                replicas[key].over.add(request)
                replicas[key].informed |= not log.asking.silent(fields)
                replaced.add(fields["supersedes"])  # before or after what it replaces
                told[key[:2]].pop(fields["supersedes"], None)
                if log.options.replicas > 1 and fields["outcome"] not in ("skip", "invalid"):
                    check_another(log, entry, key, worker, told[key[:2]].values())
                    if fields["label_id"] not in replaced:
                        told[key[:2]][fields["label_id"]] = (
                            fields["annotator_id"], worker, key[2], issued_at[request])


def check_versions_asked(log):
    """Under reset nothing is asked, and nothing again, whose label would not count by the entries that
    everybody has read, unless windows are so short that these are forgotten again."""
    midway = log.states["midway"]
    short = min(log.options.labels_window, log.options.policy_window) < 10 ** 8
    if log.options.labels_versions != "reset" or short or not midway:
        return
    read = [entry for transaction in log.transactions[:midway[0].transactions]
            for entry in transaction.entries]
    ages = information.Ages(read, log.rules)
    for transaction in log.transactions[midway[0].transactions:]:
        for entry in information.of_kind(transaction.entries, "selected"):
            assert ages.of(entry.fields["policy_epoch"]) == 0, \
                f"request {entry.fields['request_id']}: its label would not count"
            log.counts["asked under reset"] += 1


class Known:
    """The attempts of one replica, as the ledger has them so far: {request id: worker that asked}."""

    def __init__(self):
        self.open, self.answered = {}, False


def check_notices(log):
    """Labellers are told of no request but those that an answer to another attempt has closed; and of
    each of those that the worker that takes the answer has asked."""
    of_request, replicas = {}, defaultdict(Known)
    for transaction in log.transactions:
        closed = []
        for entry in transaction.entries:
            request = entry.fields.get("request_id")
            if entry.kind == "selected":
                of_request[request] = information.replica_of(entry.fields)
                replicas[of_request[request]].open[request] = transaction.worker
            elif entry.kind in ("expired", "labelled") and request in of_request:
                known = replicas[of_request[request]]
                known.open.pop(request, None)
                if entry.kind == "expired" or not log.asking.answers(entry.fields):
                    continue
                if not known.answered:
                    closed += [other for other, worker in known.open.items()
                               if worker == transaction.worker]
                known.answered = True
        for request in closed:
            assert request in transaction.notices or log.options.cuts, \
                f"request {request} is not taken back, and answered elsewhere"
        for request in transaction.notices:
            log.counts["notice"] += 1
            assert replicas[of_request[request]].answered, \
                f"request {request} is taken back, and open"


# ---- what holds at the end ----

def ready_pools(log):
    """How many prompts had enough distinct completions for a pool to be ready, in the end."""
    held = defaultdict(set)
    for (partition, _), record in log.completions.items():
        if not record.broken:
            held[partition, record.value["prompt_id"]].add(record.value["completion_id"])
    return sum(len(completions) >= log.options.pool_min for completions in held.values())


def check_agreement(log):
    """Engines that have read the same have arrived at the same."""
    assert set(log.states) == {"midway", "alive", "quiet", "restored"}, "states are missing"
    for when, states in log.states.items():
        digests = {state.digest for state in states}
        assert len(digests) == 1, f"{when}: engines differ: {[s.digest[:8] for s in states]}"
    lived, restored = log.states["quiet"][0], log.states["restored"][0]
    news = any(transaction.effects
               for transaction in log.transactions[lived.transactions:restored.transactions])
    log.counts["restored alike"] += not news
    assert news or lived.digest == restored.digest, "what was restored is not what lived on"


def carriable(log, run):
    """(request_id there, fields of the LABELLED that counts) of each label of another space whose two
    completions were taken into one partition's pool of the space in force."""
    space = information.space_in_force(run.entries)["feature_space"]
    refused = set(map(judge.place_of_letter, run.dead_letters))
    there = {(partition, record.value["prompt_id"], record.value["completion_id"])
             for (partition, offset), record in log.completions.items()
             if not record.broken and record.value["feature_space"] == space
             and ("completions", partition, offset) not in refused}
    answered = information.answers(run.entries, log.asking)
    for (where, request_id), fields in judge.carried_ids(run, information.spaces(run.entries)).items():
        answer = answered.get(fields["request_id"])
        pools = (all((partition, fields["prompt_id"], fields[side]) in there
                     for side in ("left_id", "right_id")) for partition in range(8))
        if where == space and answer is not None and any(pools):
            yield request_id, answer


def check_nothing_stays_behind(log, run):
    """Where all pools of the space in force are held, every label is carried whose pair is in one."""
    if not (log.options.pool_age > 10 ** 8 and log.options.slots) or log.options.cuts:
        return
    answered = information.answers(run.entries, log.asking)
    for request_id, answer in carriable(log, run):
        silent = log.asking.silent(answer)
        held = answered.get(request_id)
        assert held is not None or silent, \
            f"the label of request {answer['request_id']} was not carried, as {request_id}"
        assert held is None or judge.words_of(held) == judge.words_of(answer), \
            f"carried request {request_id} does not say what its label says now"
        log.counts["carried by name"] += held is not None and held["annotator_id"] != ""
        log.counts["must be carried"] += held is not None


def check_memory(log):
    limit = log.options.pools_bytes
    for states in log.states.values():
        for state in states:
            assert limit == 0 or state.pools_bytes <= limit, \
                f"pools take {state.pools_bytes} bytes of {limit}"


def check_states(log, run):
    """What the engines hold is what the ledger says."""
    if not run.of("space"):
        return
    rules = log.rules
    for state in log.states["quiet"] + log.states["restored"]:
        who = f"{state.when} {state.who}"
        then = replace(run, entries=[entry for transaction in log.transactions[:state.transactions]
                                     for entry in transaction.entries])
        answered = information.answers(then.entries, log.asking)
        assert state.waiting == 0, f"{who}: {state.waiting} labels wait"
        if log.options.cuts:
            continue
        assert state.refused == log.counts["poison"], f"{who}: {state.refused} entries refused"
        carried = {fields["request_id"] for fields in judge.carried(then)}
        assert state.requests == len(then.of("selected")) + len(carried), f"{who}: requests"
        judge.check_requests_accounted(then, state.open, log.asking)
        ages = information.Ages(then.entries, rules)
        informative = sum(
            information.factor_of(fields["request_id"], answered, (), 0, log.asking)
            * ages.of_label(fields["policy_epoch"]) > 0
            for fields in information.members(then.entries, rules.labels_window))
        assert state.counted == informative, f"{who}: {state.counted} labels in Sigma"
    for states in log.states.values():
        entries = [entry for transaction in log.transactions[:states[0].transactions]
                   for entry in transaction.entries]
        for state in states if information.of_kind(entries, "space") else ():
            check_matrices(log, state, entries)
    if log.all_held:
        for when in ("quiet", "restored"):
            held = sum(state.held for state in log.states[when])
            pools = sum(state.pools for state in log.states[when])
            judge.check_completions_held(run, held, pools)


def check_matrices(log, state, entries):
    """Sigma, I and psi of an engine that has read these entries."""
    who = f"{state.when} {state.who}"
    if state.inverse:
        sigma = information.labelled_information(entries, asking=log.asking, rules=log.rules)
        d = len(sigma)
        error = numpy.abs(sigma @ numpy.reshape(state.inverse, (d, d)) - numpy.eye(d)).max()
        assert error < 1e-9, f"{who}: Sigma differs from the ledger's by {error:.2g}"
    if state.policy and not log.options.cuts:
        space = information.space_in_force(entries)["feature_space"]
        policy = information.policy_information(information.panes(entries), space,
                                                information.Ages(entries, log.rules))
        error = numpy.abs(policy - numpy.reshape(state.policy, policy.shape)).max()
        assert error <= 1e-9 * numpy.abs(policy).max(), \
            f"{who}: I differs from the ledger's by {error:.2g}"
    fit = information.newest_fit(entries)
    if fit is not None:
        assert numpy.frombuffer(fit["psi"]).tolist() == state.psi, f"{who}: psi"


def check_annotators(log, run):
    """The rows of a FIT are of those who have labelled, those with the most labels first."""
    names = {entry.fields["annotator_id"] for entry in run.of("labelled")} - {""}
    for entry in run.of("fit"):
        rows, overall = entry.fields["annotators"], entry.fields["lapse"]
        labels = [row["labels"] for row in rows]
        assert {row["id"] for row in rows} <= names, "a FIT names one who gave no label"
        assert len({row["id"] for row in rows}) == len(rows), "a FIT names an annotator twice"
        assert labels == sorted(labels, reverse=True), f"labels of annotators {labels}"
        for row in rows:
            assert 0 <= row["lapse"] < 1 and row["sided"] <= row["labels"], f"annotator {row}"
            assert row["kind"] == ("model" if row["id"] == "annotator 4" else ""), f"annotator {row}"
        log.counts["fit with ties"] += entry.fields["tie"] > 0
        own = any(row["lapse"] != overall for row in rows)
        assert not own or log.options.by_annotator, "rates of annotators though nobody wants them"
        log.counts["fit by annotator"] += own


def check_log(log):
    assert log.ended, "the log ends early"
    run = log.run()
    features = {(record.value["prompt_id"], record.value["completion_id"]):
                numpy.frombuffer(record.value["features"], "<f4")
                for record in log.completions.values() if not record.broken}

    def features_of(prompt, completion):
        return features[prompt, completion]

    check_offsets(log)
    check_atomic(log)
    check_nothing_is_passed(log)
    check_read_before_asked(log)
    check_dead_letters(run)
    check_expiry(log)
    check_asking(log)
    check_versions_asked(log)
    check_notices(log)
    judge.check_nothing_doubled(run)
    judge.check_pairs_are_the_selected(run)
    judge.check_identities(run)
    judge.check_pairs_differ(run, features_of)
    judge.check_labels_are_accepted_once(run, workers=3)
    judge.check_fits(run)
    check_annotators(log, run)
    judge.check_one_digest(run)
    budget.check(log)
    if run.of("space"):
        judge.check_differences(run, features_of)
        judge.check_carried(run, features_of)
        check_nothing_stays_behind(log, run)
        if log.all_held:
            judge.check_panes(run, ready_pools(log))
        elif not log.options.cuts:  # whose deleted panes an owner cannot know
            information.check_panes(information.panes(run.entries))
    check_agreement(log)
    check_memory(log)
    check_states(log, run)
    return run


# ---- runs ----

def check_variety(crashes, kinds):
    """The schedules went everywhere."""
    missing = BOUNDARIES - crashes.keys()
    assert not missing, f"no crash at: {', '.join(sorted(missing))}"
    for kind in ("selected", "labelled", "expired", "fit", "moments", "space", "dead letter",
                 "asked again", "replicas", "notice", "fenced", "abort", "poison", "restored alike",
                 "carried", "must be carried", "carried anew", "carried by name", "fit by annotator",
                 "fit with ties", "asked under reset"):
        assert kinds[kind] > 0, f"no {kind} in any seed"


def simulate(program, seed, turns=TURNS, without=()):
    words = [program, str(seed), "--turns", str(turns)]
    if without:
        words += ["--without", ",".join(without)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"simulate ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.splitlines()


def broken(program, seed, turns, without):
    """What breaks in this run; None: nothing."""
    try:
        check_log(Log(simulate(program, seed, turns, without)))
    except Exception as failure:
        return f"{type(failure).__name__}: {failure}"
    return None


def shrink(program, seed):
    """The fewest turns (by halves) and faults with which the seed still fails."""
    turns, without = TURNS, ()
    for fault in FAULTS:
        if broken(program, seed, turns, without + (fault,)):
            without += (fault,)
    step = turns // 2
    while step >= 100:
        if turns > step and broken(program, seed, turns - step, without):
            turns -= step
        else:
            step //= 2
    print(f"shrunk: {broken(program, seed, turns, without)}")
    print(f"replay: {program} {seed} --turns {turns}"
          + (f" --without {','.join(without)}" if without else "") + f" >LOG; {sys.argv[0]} --log LOG")


def seeds_of(chosen):
    if chosen.minutes is None:
        first, _, last = chosen.seeds.partition("-")
        yield from range(int(first), int(last or first) + 1)
        return
    end = time.monotonic() + 60 * chosen.minutes
    seed = int(time.time()) * 1000
    print(f"fresh seeds from {seed} on", flush=True)
    while time.monotonic() < end:
        yield seed
        seed += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate", default=str(environment.ROOT / "build" / "ci" / "simulate"),
                        help="the program (default build/ci/simulate)")
    parser.add_argument("--seeds", default="1-64", help="FIRST-LAST or one (default 1-64)")
    parser.add_argument("--minutes", type=float, help="fresh seeds for so long instead")
    parser.add_argument("--log", type=Path, help="judge this log instead")
    parser.add_argument("--no-shrink", action="store_true", help="do not shrink a seed that fails")
    chosen = parser.parse_args()
    crashes, kinds, events, seeds = Counter(), Counter(), 0, 0
    started = time.monotonic()
    for seed in ["log"] if chosen.log else seeds_of(chosen):
        try:
            log = Log(chosen.log.read_text().splitlines() if chosen.log else
                      simulate(chosen.simulate, seed))
            run = check_log(log)
        except Exception as failure:
            print(f"seed {seed}: {type(failure).__name__}: {failure}", flush=True)
            if chosen.log or chosen.no_shrink:
                print(f"replay: {chosen.simulate} {seed} >LOG; {sys.argv[0]} --log LOG")
            else:
                shrink(chosen.simulate, seed)
            sys.exit(1)
        seeds += 1
        events += log.events
        crashes += log.crashes
        kinds += log.counts
        kinds.update(entry.kind for entry in run.entries)
        kinds["dead letter"] += len(run.dead_letters)
        kinds["carried"] += len(judge.carried(run))
        kinds["carried anew"] += sum(fields["supersedes"] != "" for fields in judge.carried(run))
    minutes = (time.monotonic() - started) / 60
    print(f"{seeds} seeds, {events} events, {events / minutes:.3g} a minute, crashes: "
          + ", ".join(f"{count} {boundary}" for boundary, count in sorted(crashes.items())))
    print(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    if seeds >= MANY:
        check_variety(crashes, kinds)


if __name__ == "__main__":
    main()
