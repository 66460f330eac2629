"""Sigma, I and tr(I inverse(Sigma)) from the entries of the ledger topic and nothing else.

Written from the rules of the ledger, not from the worker's code:
- Of the SPACE entries of ledger partition 0 the first is in force, until one of a larger
  feature_epoch comes; of those of one space the lowest offset counts. x of SELECTED is in its scale.
  Only what is of the space in force counts.
- The FIT with the highest fit_id gives psi, lambda, the lapse rate and rho (return rate).
- I = sum of all sums / sum of all weights over the panes in force. A pane is the set of chunks of
  MOMENTS with one (partition, from, to, stream_time); its sums are the packed lower triangle, row by
  row.
  Panes made under psi = 0 (fit_id 0) are out once later panes hold 50 pools.
- Sigma = lambda Id + sum over requests, in order of request id, of factor w x x'. w is what SELECTED
  says when it was picked under the newest FIT, else that of one answer at the newest psi and lapse
  rate: that of its annotator for an answer older than the FIT that the FIT names, else the overall
  one. factor:
  confidence once answered, rho while under way, 0 after EXPIRED, WITHDRAWN, skip or invalid. A late
  answer counts. Of several answers the lowest (ledger partition, offset) counts that no other
  supersedes; an answer is what the lowest entry of its label_id says.
- A LABELLED of origin imported or carried answers nothing that was asked: it counts by itself, from
  its own time, with w at the newest psi.
- The requests for one replica of a pair are its attempts. One that was answered closes all of them:
  of their counting answers the lowest (ledger partition, offset) counts, the others are as if they
  had never been asked. Under labels.skips = again skip and invalid are no answers; under
  labels.both_bad = ignore both_bad carries no information.
- Requests issued before the window do not count. It begins labels.window before the largest time in
  the ledger, that time cut to sixteenths of the window.
- The age of a policy epoch is how many larger ones SELECTED, LABELLED and MOMENTS name within the
  longer one of labels.window and policy.window, by the newest entry of each. By it labels weigh
  gamma^age (forget), or count at age 0 alone (reset); and panes weigh moments.gamma^age, of which
  then only the four largest epochs of each sixteenth of policy.window, and of those made under
  psi = 0 or later, are in.
- lambda is one number for each group of features: blocks of equal size, or the groups that are named
  and one of the rest.
"""

from dataclasses import dataclass

import numpy

POOLS_UNDER_A_FIT = 50
VERSIONS_OF_A_SIXTEENTH = 4
NO_INFORMATION = ("skip", "invalid")


@dataclass(frozen=True)
class Asking:
    """The options that say what an answer is."""

    skips_again: bool = False
    both_bad_ignored: bool = False

    def answers(self, fields):
        return not self.skips_again or fields["outcome"] not in NO_INFORMATION

    def silent(self, fields):
        return (fields is None or fields["outcome"] in NO_INFORMATION
                or self.both_bad_ignored and fields["outcome"] == "both_bad")


DEFAULT = Asking()


def weight_plug(margin):
    """sigma'(m) without underflow."""
    small = numpy.exp(-abs(margin))
    return small / (1 + small) ** 2


def weight_tie(margin, lapse, tie):
    """Of Davidson's three answers: the sum of (dP/dm)^2 / P."""
    if tie == 0:
        return weight_lapse(margin, lapse) if lapse > 0 else weight_plug(margin)
    up, down = numpy.exp(margin / 2), numpy.exp(-margin / 2)
    total = up + down + tie
    left, right, even = up / total, down / total, tie / total
    lean = (left - right) / 2
    changes = (left * (.5 - lean), -right * (.5 + lean), -even * lean)
    honest = 1 - lapse
    chances = (honest * left + lapse / 2, honest * right + lapse / 2, honest * even)
    return sum((honest * change) ** 2 / chance for change, chance in zip(changes, chances))


def weight_lapse(margin, lapse):
    chosen = 1 / (1 + numpy.exp(-margin))
    answered = (1 - lapse) * chosen + lapse / 2
    return ((1 - lapse) * weight_plug(margin)) ** 2 / (answered * (1 - answered))


def unpack(packed, dimension):
    """Symmetric matrix of a packed lower triangle, row by row."""
    assert len(packed) == dimension * (dimension + 1) // 2, "packed triangle of a wrong length"
    matrix = numpy.zeros((dimension, dimension))
    matrix[numpy.tril_indices(dimension)] = packed
    return matrix + numpy.tril(matrix, -1).T


def pack(matrix):
    return numpy.asarray(matrix)[numpy.tril_indices(len(matrix))]


@dataclass(frozen=True)
class Rules:
    """The options that matter here; the defaults age nothing and have one group and no window."""
    labels_window: int = None
    policy_window: int = None
    labels_versions: str = "keep"
    labels_gamma: float = 1.0
    moments_gamma: float = 1.0
    blocks: int = 1
    groups: tuple = ()

    @classmethod
    def of(cls, options):
        """Of a configuration {name: value}; ages nothing."""
        return cls(blocks=options.get("features.blocks", 1))

    def group_of_features(self, dimension):
        """The group of each feature."""
        if self.blocks > 1:
            edges = [block * dimension // self.blocks for block in range(self.blocks + 1)]
            return [block for block in range(self.blocks)
                    for _ in range(edges[block], edges[block + 1])]
        group = [len(self.groups)] * dimension
        for number, definition in enumerate(self.groups):
            for some in definition.split("=")[1].split("+"):
                first, _, last = some.partition("-")
                for feature in range(int(first), int(last or first) + 1):
                    group[feature] = number
        return group


class Ages:
    """How old policy epochs are by these entries."""

    def __init__(self, entries, rules=Rules()):
        self.rules, self.known = rules, []
        if rules.labels_versions == "keep" and rules.moments_gamma == 1:
            return
        newest = {}
        for entry in entries:
            if entry.kind in ("selected", "labelled") or (
                    entry.kind == "moments" and entry.fields["pools"] > 0):
                epoch = entry.fields["policy_epoch"]
                newest[epoch] = max(newest.get(epoch, 0), entry.time)
        edge = window_edge(entries, max(rules.labels_window, rules.policy_window))
        self.known = [epoch for epoch, time in newest.items() if time >= edge]

    def of(self, epoch):
        return sum(other > epoch for other in self.known)

    def of_label(self, epoch):
        """omega of a label."""
        if self.rules.labels_versions == "keep":
            return 1.0
        if self.rules.labels_versions == "reset":
            return float(self.of(epoch) == 0)
        return self.rules.labels_gamma ** self.of(epoch)


@dataclass
class Pane:
    partition: int
    start: int
    end: int
    fit_id: int
    pools: int
    weight: float
    dimension: int
    sums: numpy.ndarray
    space: str
    epoch: int
    time: int


def panes(entries):
    """Panes, each from all of its chunks; the chunks of one pane agree in everything else."""
    chunks = {}
    for entry in entries:
        if entry.kind == "moments":
            fields = {**entry.fields, "time": entry.time}
            place = (fields["completions_partition"], fields["from"], fields["to"],
                     fields["stream_time"])
            held = chunks.setdefault(place, {})
            assert fields["chunk"] not in held, f"chunk {fields['chunk']} of pane {place} twice"
            held[fields["chunk"]] = fields
    result = []
    for place, held in sorted(chunks.items()):
        first = held[min(held)]
        assert sorted(held) == list(range(first["chunks"])), f"pane {place}: chunks {sorted(held)}"
        for other in held.values():
            for name in ("fit_id", "pools", "weight", "dimension", "feature_space", "chunks"):
                assert other[name] == first[name], f"pane {place}: chunks disagree in {name}"
        packed = numpy.concatenate([numpy.frombuffer(held[k]["sums"], "<f4") for k in sorted(held)])
        dimension = first["dimension"]
        sums = unpack(packed.astype(float), dimension) if first["pools"] else numpy.zeros(
            (dimension, dimension))
        result.append(Pane(*place[:3], first["fit_id"], first["pools"], first["weight"], dimension,
                           sums, first["feature_space"], first["policy_epoch"], first["time"]))
    return result


def check_panes(found):
    """The panes of a partition are contiguous and do not overlap; one of pools that became ready by
    time alone is empty."""
    last = {}
    for pane in found:
        assert pane.start <= pane.end, f"pane {pane.partition} [{pane.start}, {pane.end})"
        if pane.partition in last:
            assert pane.start == last[pane.partition], \
                f"panes of partition {pane.partition}: gap or overlap at {pane.start}"
        last[pane.partition] = pane.end


def in_policy_window(found, rules):
    """The panes of policy.window and, where versions fade, of the newest ones in each sixteenth."""
    step = max(1, rules.policy_window // 16)
    newest = max(pane.time // step for pane in found)
    found = [pane for pane in found if pane.time // step > newest - 16]
    if rules.moments_gamma == 1:
        return found
    epochs = {}
    for pane in found:
        epochs.setdefault((pane.fit_id > 0, pane.time // step), set()).add(pane.epoch)
    return [pane for pane in found if pane.epoch in
            sorted(epochs[pane.fit_id > 0, pane.time // step])[-VERSIONS_OF_A_SIXTEENTH:]]


def policy_information(found, space=None, ages=Ages([])):
    """I; space: of those panes alone."""
    found = [pane for pane in found if (space is None or pane.space == space) and pane.pools > 0]
    if ages.rules.policy_window:
        found = in_policy_window(found, ages.rules)
    later = [pane for pane in found if pane.fit_id > 0]
    if sum(pane.pools for pane in later) >= POOLS_UNDER_A_FIT:
        found = later
    omegas = [ages.rules.moments_gamma ** ages.of(pane.epoch) for pane in found]
    return (sum(omega * pane.sums for omega, pane in zip(omegas, found))
            / sum(omega * pane.weight for omega, pane in zip(omegas, found)))


def newest_fit(entries):
    space = space_in_force(entries)["feature_space"] if of_kind(entries, "space") else None
    fits = [entry for entry in of_kind(entries, "fit") if entry.fields["feature_space"] == space]
    if not fits:
        return None
    newest = max(fits, key=lambda entry: entry.fields["fit_id"])
    return {**newest.fields, "time": newest.time}


def of_kind(entries, kind):
    return [entry for entry in entries if entry.kind == kind]


def spaces(entries):
    """{feature space: fields of its SPACE that counts}, in the order of the ledger."""
    found = {}
    for entry in sorted(of_kind(entries, "space"), key=lambda entry: entry.offset):
        assert entry.partition == 0, "SPACE outside ledger partition 0"
        first = found.setdefault(entry.fields["feature_space"], entry.fields)
        # Written again (pools = 0) for the topic's retention, it repeats what is in force.
        again = entry.fields["pools"] == 0
        assert not again or entry.fields["scale"] == first["scale"], "SPACE again, and different"
    return found


def space_in_force(entries):
    found = list(spaces(entries).values())
    assert found, "no SPACE in the ledger"
    current = found[0]
    for space in found[1:]:
        if space["feature_epoch"] > current["feature_epoch"]:
            current = space
    return current


def replica_of(fields):
    """What all attempts of one SELECTED share."""
    return fields["feature_space"], fields["pair_id"], fields["replica"]


def labels_of(entries):
    """{request_id: {label_id: its lowest LABELLED entry}}, in the order of their places."""
    labels = {}
    for entry in sorted(of_kind(entries, "labelled"), key=lambda e: (e.partition, e.offset)):
        labels.setdefault(entry.fields["request_id"], {}).setdefault(entry.fields["label_id"], entry)
    return labels


def standing(of_request):
    """The entry that counts of the labels of one request; None: each is superseded."""
    for label_id, entry in of_request.items():
        if not any(other.fields["supersedes"] == label_id
                   for other_id, other in of_request.items() if other_id != label_id):
            return entry
    return None


def elsewhere(entries, asking=DEFAULT, labels=None):
    """Ids of the attempts whose replica has its answer at another attempt."""
    labels = labels_of(entries) if labels is None else labels
    replicas = {}
    for entry in of_kind(entries, "selected"):
        replicas.setdefault(replica_of(entry.fields), []).append(entry.fields["request_id"])
    found = set()
    for attempts in replicas.values():
        answered = [request for request in attempts
                    if any(asking.answers(entry.fields)
                           for entry in labels.get(request, {}).values())]
        if len(attempts) == 1 or not answered:
            continue

        def place(request):
            entry = standing(labels[request])
            return (1,) if entry is None else (0, entry.partition, entry.offset)
        holder = min(answered, key=place)
        found.update(request for request in attempts if request != holder
                     and (request in answered or request not in labels))
    return found


def answers(entries, asking=DEFAULT):
    """{request_id: fields of the LABELLED that counts}; None where none does."""
    labels = labels_of(entries)
    closed = elsewhere(entries, asking, labels)
    counted = {}
    for request_id, of_request in labels.items():
        entry = None if request_id in closed else standing(of_request)
        counted[request_id] = (None if entry is None
                               else {**entry.fields, "accepted_at": entry.time})
    return counted


def window_edge(entries, window):
    """Issue time from which on requests count."""
    step = max(1, window // 16)
    return max(entry.time for entry in entries) // step * step - window


def freed(entries, asking=DEFAULT):
    """Ids of the requests that hold no slot though nobody labelled them."""
    return {entry.fields["request_id"] for entry in entries
            if entry.kind in ("expired", "withdrawn")} | elsewhere(entries, asking)


def factor_of(request_id, answered, gone, return_rate, asking=DEFAULT):
    if request_id in answered:
        fields = answered[request_id]
        return 0.0 if asking.silent(fields) else fields["confidence"]
    return 0.0 if request_id in gone else return_rate


def imported(entries):
    """What was labelled without a request (imported or carried), {request_id: fields}, as SELECTED would say it."""
    found = {}
    for entry in of_kind(entries, "labelled"):
        if entry.fields["origin"] != "request":
            found.setdefault(entry.fields["request_id"],
                             {**entry.fields, "issued_at": entry.time, "fit_id": -1, "weight": None})
    return found


def members(entries, window=None):
    """SELECTED, and what was imported or carried, of the space in force and of the window, in order of request
    id."""
    space = space_in_force(entries)["feature_space"]
    edge = window_edge(entries, window) if window else 0
    requests = [entry.fields for entry in of_kind(entries, "selected")]
    return sorted((fields for fields in [*requests, *imported(entries).values()]
                   if fields["feature_space"] == space and fields["issued_at"] >= edge),
                  key=lambda fields: fields["request_id"])


def lapse_of(fit, answer):
    """The lapse rate that an answer, or a pair without one (None), is weighed at."""
    if answer is None or answer["annotator_id"] == "" or not answer["accepted_at"] < fit["time"]:
        return fit["lapse"]
    rates = {row["id"]: row["lapse"] for row in fit.get("annotators", [])}
    return rates.get(answer["annotator_id"], fit["lapse"])


def labelled_information(entries, window=None, asking=DEFAULT, rules=None):
    """Sigma (d x d); window: labels.window in milliseconds, when it matters; rules: that and more.
    """
    rules = rules or Rules(labels_window=window)
    window, ages = rules.labels_window, Ages(entries, rules)
    fit = newest_fit(entries)
    answered, gone = answers(entries, asking), freed(entries, asking)
    selected = members(entries, window)
    dimension = space_in_force(entries)["dimension"]
    if fit is None:
        psi, penalty, rate, fit_id = numpy.zeros(dimension), numpy.ones(1), 1.0, 0
    else:
        psi = numpy.frombuffer(fit["psi"], "<f8")
        penalty = numpy.frombuffer(fit["lambda"], "<f8")
        rate, fit_id = fit["return_rate"], fit["fit_id"]
    group = rules.group_of_features(dimension)
    assert len(penalty) in (1, max(group) + 1), f"{len(penalty)} lambdas of {max(group) + 1} groups"
    sigma = numpy.diag(penalty[group] if len(penalty) > 1 else penalty.repeat(dimension))
    for fields in selected:
        factor = (factor_of(fields["request_id"], answered, gone, rate, asking)
                  * ages.of_label(fields["policy_epoch"]))
        if factor == 0:
            continue
        x = numpy.frombuffer(fields["x"], "<f4").astype(float)
        margin = float(psi @ x)
        lapse = lapse_of(fit, answered.get(fields["request_id"])) if fit is not None else 0.0
        fresh = weight_tie(margin, lapse, fit.get("tie", 0.0) if fit is not None else 0.0)
        weight = fields["weight"] if fields["fit_id"] == fit_id else fresh
        sigma += factor * weight * numpy.outer(x, x)
    return sigma


def policy_trace(entries, rules=None):
    """tr(I inverse(Sigma))."""
    information = policy_information(panes(entries))
    sigma = labelled_information(entries, rules=rules)
    return float(numpy.trace(numpy.linalg.solve(sigma, information)))


def before(entries, asked):
    """The entries that stood before one SELECTED, as explain.h says: FIT by its id, picks by time and
    slot, answers of the same moment not."""
    def stood(entry):
        if entry.kind == "fit" and entry.fields["feature_space"] == asked.fields["feature_space"]:
            return entry.fields["fit_id"] <= asked.fields["fit_id"]
        if entry.kind == "selected" and entry.time == asked.time:
            return entry.fields["slot"] < asked.fields["slot"]
        if entry.kind in ("selected", "labelled", "withdrawn"):
            return entry.time < asked.time
        return entry.time <= asked.time
    return [entry for entry in entries if stood(entry)]
