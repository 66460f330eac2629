"""Sigma, I and tr(I inverse(Sigma)) from the entries of the ledger topic and nothing else.

Written from the rules of the ledger, not from the worker's code:
- SPACE with the lowest offset of ledger partition 0 is in force; x of SELECTED is in its scale.
- The FIT with the highest fit_id gives psi, lambda, the lapse rate and rho (return rate).
- I = sum of all sums / sum of all weights over the panes in force. A pane is the set of chunks of
  MOMENTS with one (partition, from, to, stream_time); its sums are the packed lower triangle, row by
  row.
  Panes made under psi = 0 (fit_id 0) are out once later panes hold 50 pools.
- Sigma = lambda Id + sum over requests, in order of request id, of factor w x x'. w is what SELECTED
  says when it was picked under the newest FIT, else sigma'(psi'x) at the newest psi. factor:
  confidence once answered, rho while under way, 0 after EXPIRED, WITHDRAWN, skip or invalid. A late
  answer counts. Of two answers the one with the lower (ledger partition, offset) counts.
"""

from dataclasses import dataclass

import numpy

POOLS_UNDER_A_FIT = 50
NO_INFORMATION = ("skip", "invalid")


def weight_plug(margin):
    """sigma'(m) without underflow."""
    small = numpy.exp(-abs(margin))
    return small / (1 + small) ** 2


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


def panes(entries):
    """Panes of I, each from all of its chunks; the chunks of one pane agree in everything else."""
    chunks = {}
    for entry in entries:
        if entry.kind == "moments":
            fields = entry.fields
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
                           sums))
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


def policy_information(found):
    later = [pane for pane in found if pane.fit_id > 0]
    if sum(pane.pools for pane in later) >= POOLS_UNDER_A_FIT:
        found = later
    return sum(pane.sums for pane in found) / sum(pane.weight for pane in found)


def newest_fit(entries):
    fits = [entry for entry in entries if entry.kind == "fit"]
    if not fits:
        return None
    return max(fits, key=lambda entry: entry.fields["fit_id"]).fields


def space_in_force(entries):
    spaces = [entry for entry in entries if entry.kind == "space"]
    assert spaces, "no SPACE in the ledger"
    assert all(entry.partition == 0 for entry in spaces), "SPACE outside ledger partition 0"
    return min(spaces, key=lambda entry: entry.offset).fields


def answers(entries):
    """{request_id: fields of the LABELLED that counts}."""
    counted = {}
    for entry in sorted((e for e in entries if e.kind == "labelled"),
                        key=lambda e: (e.partition, e.offset)):
        counted.setdefault(entry.fields["request_id"], entry.fields)
    return counted


def freed(entries):
    return {entry.fields["request_id"] for entry in entries
            if entry.kind in ("expired", "withdrawn")}


def factor_of(request_id, answered, gone, return_rate):
    if request_id in answered:
        fields = answered[request_id]
        return 0.0 if fields["outcome"] in NO_INFORMATION else fields["confidence"]
    return 0.0 if request_id in gone else return_rate


def labelled_information(entries):
    """Sigma (d x d)."""
    fit = newest_fit(entries)
    answered, gone = answers(entries), freed(entries)
    selected = sorted((entry.fields for entry in entries if entry.kind == "selected"),
                      key=lambda fields: fields["request_id"])
    dimension = space_in_force(entries)["dimension"]
    if fit is None:
        psi, penalty, lapse, rate, fit_id = numpy.zeros(dimension), numpy.ones(1), 0.0, 1.0, 0
    else:
        psi = numpy.frombuffer(fit["psi"], "<f8")
        penalty = numpy.frombuffer(fit["lambda"], "<f8")
        lapse, rate, fit_id = fit["lapse"], fit["return_rate"], fit["fit_id"]
    assert len(penalty) == 1, "feature groups are not of this slice"
    sigma = penalty[0] * numpy.eye(dimension)
    for fields in selected:
        factor = factor_of(fields["request_id"], answered, gone, rate)
        if factor == 0:
            continue
        x = numpy.frombuffer(fields["x"], "<f4").astype(float)
        margin = float(psi @ x)
        fresh = weight_lapse(margin, lapse) if lapse > 0 else weight_plug(margin)
        weight = fields["weight"] if fields["fit_id"] == fit_id else fresh
        sigma += factor * weight * numpy.outer(x, x)
    return sigma


def policy_trace(entries):
    """tr(I inverse(Sigma))."""
    information = policy_information(panes(entries))
    return float(numpy.trace(numpy.linalg.solve(labelled_information(entries), information)))
