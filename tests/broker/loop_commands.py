"""The commands that look into a running loop, and change it: what they say is recomputed from the
topics by another program, and every promise holds behind them.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import contracts, information, judge  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.faults import DIMENSION, Scene  # noqa: E402
from support.labeller import Labeller  # noqa: E402
from support.ledger import read_entries, read_run  # noqa: E402

OPTIONS = {"fit.every": 20, "features.scale": "auto", "budget.in_flight": 30, "features.blocks": 2,
           "policy.pools_min": 1000}
RULES = information.Rules.of(OPTIONS)
SLOT = {"kafka.instance": "test-0"}
LABELS = 150  # more than 50, from which on there are fits


def refused(stage, code, words, *line, **more):
    """The command ends with the code and says the words."""
    done = stage.command(*line, check=False, **more)
    assert done.returncode == code and words in done.stderr, (line, done.returncode, done.stderr)
    return done


def check_model(stage, run):
    """The newest fit of the ledger, with the scale of its space; features in, rewards out."""
    head = stage.folder / "head.npy"
    said = json.loads(stage.command("model", "--npy", head).stdout)
    fit, space = information.newest_fit(run.entries), information.space_in_force(run.entries)
    assert said["fit_id"] == fit["fit_id"] > 1 and said["feature_space"] == "test", said
    for name in ("lapse", "left_bias", "tie", "return_rate", "labels", "objective"):
        assert said[name] == fit[name], (name, said[name], fit[name])
    first, second = numpy.frombuffer(fit["lambda"], "<f8")
    assert said["lambdas"] == {"block0": first, "block1": second}, said["lambdas"]
    assert close(said["lambda"], (first * second) ** .5), "blocks of equal size"
    psi = numpy.frombuffer(fit["psi"], "<f8")
    assert numpy.array_equal(said["psi"], psi) and said["dimension"] == len(psi)
    assert numpy.array_equal(said["centre"], numpy.frombuffer(space["centre"], "<f8"))
    assert said["scale"] == space["scale"] != 1
    told = {row["annotator_id"]: (row["labels"], row["lapse"]) for row in said["annotators"]}
    assert told == {row["id"]: (row["labels"], row["lapse"]) for row in fit["annotators"]}, told
    assert said["time"] == max(entry.time for entry in run.of("fit"))
    loaded = numpy.load(head)
    assert loaded.dtype == "<f8" and numpy.array_equal(loaded, psi * space["scale"]), loaded
    print(f"model: fit {said['fit_id']} of {said['labels']} labels")


def check_told(stage, run):
    """What /metrics and /ready tell of the groups, and of the pools behind I."""
    metrics, fit = stage.worker.metrics(), information.newest_fit(run.entries)
    for block, value in enumerate(numpy.frombuffer(fit["lambda"], "<f8")):
        assert close(metrics["infopair_lambda{}"][("group", f"block{block}"),], value), metrics
    pools = sum(entry.fields["pools"] for entry in run.of("moments"))
    effective = metrics["infopair_policy_pools_effective"]
    assert 0 < effective <= metrics["infopair_policy_pools"] <= pools, effective
    assert metrics["infopair_policy_completions_effective"] > 1
    status, said = stage.worker.get("/ready")
    assert status == 200 and f"note: I rests on few pools: {effective:.1f} effective of" in said, said
    assert "I rests on few pools" in stage.worker.log_tail(10 ** 6)
    print(f"told: {effective:.1f} effective pools behind I")


def check_model_refuses(stage):
    refused(stage, 1, "holds no SPACE of 'other'; it holds 'test'", "model", "--space", "other")
    stage.kafka.create_topic("empty", 3)
    refused(stage, 1, "holds no SPACE and no FIT yet", "model", options={"topics.ledger": "empty"})
    refused(stage, 1, "topic 'absent' does not exist", "model", options={"topics.ledger": "absent"})
    nobody = {"kafka.brokers": "127.0.0.1:1"}
    refused(stage, 4, "no broker answers", "model", "--no-wait", "--timeout", "1", options=nobody)


def difference_of(fields):
    return numpy.frombuffer(fields["x"], "<f4").astype(float)


def close(one, other, tolerance=1e-6):
    return abs(one - other) <= tolerance * max(abs(one), abs(other), 1e-12)


def check_explained(stage, run, asked):
    """One request: everything that can be had from the topics is recomputed from them."""
    said = json.loads(stage.command("explain", "--json", asked.fields["request_id"]).stdout)
    pair = next(pair for pair in run.pairs if pair["request_id"] == asked.fields["request_id"])
    entries, x = information.before(run.entries, asked), difference_of(asked.fields)
    fit = information.newest_fit(entries)
    known, directions = said["known"], said["directions"]
    assert known["fit_id"] == asked.fields["fit_id"] == (fit["fit_id"] if fit else 0)
    psi = numpy.frombuffer(fit["psi"], "<f8") if fit else numpy.zeros(len(x))
    assert numpy.array_equal(known["psi"], psi) and close(known["margin"], psi @ x)
    assert close(known["probability_left"], pair["probability_left"]), "the prediction then"
    for name in ("score", "reason", "reason_parts", "selector", "score_variance"):
        assert said["choice"][name] == pair[name], name
    assert said["arm"] == pair["arm"] and said["propensity"] == pair["propensity"]
    # Sigma by another program; and the variance that the worker itself wrote into the pair.
    sigma = information.labelled_information(entries, rules=RULES)
    inverse = numpy.linalg.inv(sigma)
    assert close(directions["variance"], x @ inverse @ x), "x' inverse(Sigma) x"
    assert close(directions["variance_of_rule"], pair["score_variance"]), \
        (directions["variance_of_rule"], pair["score_variance"])
    policy = information.policy_information(information.panes(entries))
    part = x @ inverse @ policy @ inverse @ x
    assert close(directions["policy"], part) and close(directions["policy"], pair["score_policy"])
    assert close(directions["trace"], numpy.trace(policy @ inverse))
    weight = asked.fields["weight"]
    drop = numpy.trace(policy @ inverse) - numpy.trace(
        policy @ numpy.linalg.inv(sigma + weight * numpy.outer(x, x)))
    assert close(directions["drop_expected"], drop), (directions["drop_expected"], drop)
    values, vectors = numpy.linalg.eigh(sigma)
    shares = (vectors.T @ x) ** 2 / (x @ x)
    assert close(sum(each["share"] for each in directions["eigen"]), 1)
    apart = numpy.diff(values).min() > 1e-3 * values.max()  # else any vectors of a plane will do
    for mine, theirs in zip(directions["eigen"], sorted(zip(values, shares), reverse=True)):
        assert close(mine["eigenvalue"], theirs[0])
        assert not apart or abs(mine["share"] - theirs[1]) < 1e-6, (mine, theirs)
    check_nearest(directions["nearest"], entries, inverse, x)
    check_change(said, run, asked, drop)
    beside = {entry.fields["request_id"] for entry in run.of("selected")
              if abs(entry.fields["issued_at"] - asked.fields["issued_at"]) <= 1000}
    assert {other["request_id"] for other in said["beside"]} \
        == beside - {asked.fields["request_id"]}, "asked within a second"
    together = [other["together"] for other in said["beside"]]
    assert together == sorted(together, reverse=True), "those of its transaction come first"
    scores = {pair["request_id"]: pair["score"] for pair in run.pairs}
    assert all(other["score"] == scores[other["request_id"]] for other in said["beside"])
    return said


def check_nearest(nearest, entries, inverse, x):
    answered = information.answers(entries)
    cosines = {}
    for fields in answered.values():
        y = difference_of(fields)
        cosines[fields["request_id"]] = x @ inverse @ y / numpy.sqrt(
            (x @ inverse @ x) * (y @ inverse @ y))
    best = sorted(cosines, key=lambda request_id: -abs(cosines[request_id]))[:5]
    assert [other["request_id"] for other in nearest] == best, (nearest, best)
    for other in nearest:
        assert close(other["cosine"], cosines[other["request_id"]])
        assert other["label"] == answered[other["request_id"]]["probability_left"]


def check_change(said, run, asked, drop):
    """What the label said and changed."""
    label = information.answers(run.entries).get(asked.fields["request_id"])
    if label is None:
        assert said["label"] is None and said["state"] != "answered", said["label"]
        return
    accepted = min(entry.time for entry in run.of("labelled")
                   if entry.fields["label_id"] == label["label_id"])
    assert said["state"] == "answered" and said["label"]["outcome"] == label["outcome"]
    predicted = said["known"]["probability_left"]
    agreed = None if predicted == .5 else (predicted > .5) == (label["outcome"] == "left")
    assert said["label"]["agreed"] == agreed and close(said["label"]["drop"], drop)
    fits = sorted((entry.time, entry.fields["fit_id"], entry.fields) for entry in run.of("fit"))
    for name, found in (("fit_before", [fit for fit in fits if fit[0] <= accepted][-1:]),
                        ("fit_after", [fit for fit in fits if fit[0] > accepted][:1])):
        assert bool(found) == (said["label"][name] is not None), (name, said["label"])
        for _, fit_id, fields in found:
            margin = numpy.frombuffer(fields["psi"], "<f8") @ difference_of(asked.fields)
            assert said["label"][name]["fit_id"] == fit_id and close(
                said["label"][name]["margin"], margin), (name, said["label"])


def check_explain(stage, run):
    """From the first pairs, before any fit, to the last."""
    asked = sorted(run.of("selected"), key=lambda entry: (entry.time, entry.fields["slot"]))
    chosen = [asked[len(asked) * k // 12] for k in range(12)] + [asked[-1]]
    said = [check_explained(stage, run, entry) for entry in chosen]
    assert said[0]["known"]["fit_id"] == 0 and said[-1]["known"]["fit_id"] > 1
    answered = [entry.fields["request_id"] for entry in chosen
                if entry.fields["request_id"] in information.answers(run.entries)]
    last = stage.command("explain", answered[len(answered) // 2]).stdout
    for words in ("What was known\n  fit ", "shares of x in the eigenvectors of Sigma",
                  "nearest labelled pairs", "that first saw it", "Asked within a second"):
        assert words in last, (words, last)
    assert "note:" not in last, last
    refused(stage, 1, "the ledger knows no such request", "explain", "0" * 32)
    print(f"explained {len(said)} requests; one that is answered:\n{last}")


def under_way(run):
    """Requests that are neither answered nor gone, in the order of their ids."""
    return sorted({entry.fields["request_id"] for entry in run.of("selected")}
                  - information.answers(run.entries).keys() - information.freed(run.entries))


class Silent(Labeller):
    """Leaves every third pair without an answer while it is told to."""

    silent = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.left = []  # pairs

    def answer(self, pair):
        if self.silent and int(pair["request_id"][:8], 16) % 3 == 0:
            self.left.append(pair)
        else:
            super().answer(pair)


def check_withdraw(scene):
    """By id, by policy; whoever is answered or unknown is refused; slots go to other pairs. The
    worker of the same name lives on."""
    stage, unknown = scene.stage, "0" * 32
    scene.load.labeller.silent = True
    scene.load.start()
    eventually(lambda: len(scene.load.labeller.left) == stage.options["budget.in_flight"], 60,
               "all slots are taken by requests that nobody answers")
    run = at_rest(scene)
    asked, waiting = len(run.pairs), under_way(run)
    assert len(waiting) == stage.options["budget.in_flight"], len(waiting)
    answered = next(iter(information.answers(run.entries)))
    done = refused(stage, 1, f"{answered}: is answered already", "withdraw", *waiting[:2], answered,
                   unknown, waiting[0], "--reason", "a test", options=SLOT)
    assert f"{unknown}: the ledger knows no such request" in done.stderr, done.stderr
    assert sorted(done.stdout.split()) == sorted([*waiting[:2], *["withdrawn"] * 2]), done.stdout
    again = stage.command("withdraw", *waiting[:2])
    assert again.stdout.count("withdrawn before") == 2, again.stdout
    stage.await_quiet(every=2.5)
    run = read_run(stage.brokers)
    check_withdrawn(run, waiting[:2], "a test")
    assert len(run.pairs) == asked + 2 and len(under_way(run)) == len(waiting), "slots are free"
    # All that is left under way, by the policy; nobody is of another one.
    stage.command("withdraw", "--policy-version", "other")
    assert len(under_way(read_run(stage.brokers))) == len(waiting)
    stage.command("withdraw", "--policy-version", "load", "--feature-space", "test", options=SLOT)
    run = read_run(stage.brokers)
    check_withdrawn(run, {entry.fields["request_id"] for entry in run.of("withdrawn")}, None)
    assert not set(under_way(run)) & set(waiting), "requests of the policy are still under way"
    options = {"policy.beta": 0.7}
    refused(stage, 2, "must share: policy.beta", "withdraw", *waiting[2:3], options=options)
    print(f"withdrawn: {len(run.withdrawn)} of {len(run.pairs)} requests")


def check_withdrawn(run, ids, reason):
    """WITHDRAWN once for each id, in the partition of its request, and a notice behind its pair."""
    partition = {entry.fields["request_id"]: entry.partition for entry in run.of("selected")}
    prompts = {pair["request_id"]: pair["prompt_id"] for pair in run.pairs}
    entries = {entry.fields["request_id"]: entry for entry in run.of("withdrawn")}
    notices = {record.headers["infopair.withdrawn"].decode(): record for record in run.withdrawn}
    assert entries.keys() == notices.keys() and len(entries) == len(run.of("withdrawn"))
    assert len(run.withdrawn) == len(notices), "a notice twice"
    for request_id in ids:
        entry, notice = entries[request_id], notices[request_id]
        assert entry.partition == partition[request_id] and entry.writer == "test-0.command"
        assert notice.key.decode() == prompts[request_id]
        if reason is not None:
            assert entry.fields["reason"] == notice.headers["infopair.reason"].decode() == reason


def check_late_labels(scene):
    """Labels of withdrawn requests count, and the loop goes on."""
    labeller = scene.load.labeller
    labeller.silent = False
    for pair in labeller.left:
        labeller.answer(pair)
    scene.start()
    run = scene.verdict("withdrawn, then answered", 1, [0])
    late = information.freed(run.entries) & information.answers(run.entries).keys()
    assert len(late) == len(run.withdrawn) > 10, (len(late), len(run.withdrawn))


def write_history(stage, run, count):
    """Lines about pairs of the run that nobody asked, and as many of prompts that nobody knows; the
    lines, and their features as .npy."""
    features_of, random = judge.features_in(run), numpy.random.default_rng(3)
    asked = {entry.fields["pair_id"] for entry in run.of("selected")}
    prompts = {}
    for record in run.completions:
        completion = contracts.decode("completion", record.value)
        prompts.setdefault(completion["prompt_id"], []).append(completion["completion_id"])
    lines, rows = [], []
    for prompt_id, (left, right, *_) in prompts.items():
        if len(lines) < count and judge.pair_id_of(prompt_id, left, right) not in asked:
            lines.append({"prompt_id": prompt_id, "left_id": left, "right_id": right})
            rows.append([features_of(prompt_id, left), features_of(prompt_id, right)])
    for k in range(count):
        lines.append({"prompt_id": f"old-{k}", "left_id": "a", "right_id": "b", "confidence": 0.5,
                      "label_id": f"old-{k}", "annotator_id": "archive"})
        rows.append(random.normal(size=(2, DIMENSION)))
    for k, line in enumerate(lines):
        line.update({"probability_left": 0.25} if k % 5 == 0 else
                    {"outcome": ("left", "right", "tie")[k % 3]})
    rows = numpy.array(rows, dtype="<f4")
    numpy.save(stage.folder / "left.npy", rows[:, 0])
    numpy.save(stage.folder / "right.npy", rows[:, 1])
    path = stage.folder / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path, lines, rows


def history_of(run):
    return [entry.fields for entry in run.of("labelled") if entry.fields["origin"] == "imported"]


def check_history(scene):
    """What was judged elsewhere is in Sigma and the fit, once, and is not asked again."""
    stage, features = scene.stage, ("--features", scene.stage.folder / "left.npy",
                                    scene.stage.folder / "right.npy")
    run = read_run(stage.brokers)
    path, lines, rows = write_history(stage, run, 30)
    done = stage.command("send", "history", *features, path)
    assert f"sent {len(lines)} labels" in done.stderr, done.stderr
    again = stage.command("send", "history", *features, path)
    assert "sent 0 labels in" in again.stderr and f"{len(lines)} were there" in again.stderr, again
    check_bad_history(stage, lines, rows)
    check_history_first(stage, features, path, lines, rows)
    scene.start()
    later = scene.verdict("a history sent", 1, [0])
    scale = information.space_in_force(later.entries)["scale"]
    entries = {fields["prompt_id"]: fields for fields in history_of(later)}
    assert len(entries) == len(history_of(later)) == len(lines) + 1  # of bad.jsonl
    for number, (line, sides) in enumerate(zip(lines, rows)):
        fields = entries[line["prompt_id"]]
        x = scale * (sides[0].astype(float) - sides[1])
        assert numpy.abs(difference_of(fields) - x).max() < 1e-5 * numpy.abs(x).max()
        y = line.get("probability_left", {"left": 1, "right": 0, "tie": .5}.get(line.get("outcome")))
        assert fields["probability_left"] == y and fields["confidence"] == line.get("confidence", 1)
        assert (fields["source_topic"], fields["source_offset"]) == ("history.jsonl", number + 1)
        assert fields["pair_id"] == judge.pair_id_of(line["prompt_id"], line["left_id"],
                                                     line["right_id"])
        assert fields["request_id"] == judge.hash_parts("imported", "test", fields["pair_id"],
                                                        fields["label_id"])
    known = {fields["pair_id"] for fields in entries.values()}
    assert not known & {pair["pair_id"] for pair in later.pairs}, "an imported pair was asked"
    fit = max(later.of("fit"), key=lambda entry: entry.fields["fit_id"])
    labels = [entry for entry in later.of("labelled") if entry.time < fit.time]
    assert fit.fields["labels"] == len(labels) > len(lines), (fit.fields["labels"], len(labels))
    request_id = entries["old-0"]["request_id"]
    refused(stage, 1, "was never asked, its label was imported", "explain", request_id)
    print(f"history: {len(lines)} labels among the {len(labels)} of fit {fit.fields['fit_id']}")


def check_history_first(stage, features, path, lines, rows):
    """With features.scale set, history may stand in the ledger before anything else."""
    stage.kafka.create_topic("fresh", 3)
    options = {"features.scale": 2, "topics.ledger": "fresh"}
    stage.command("send", "history", *features, path, "--default", "feature_space=new",
                  options=options)
    entries = read_entries(stage.brokers, "fresh")
    found = {entry.fields["source_offset"]: entry.fields for entry in entries}
    assert len(found) == len(entries) == len(lines)
    for number, sides in enumerate(rows):
        fields = found[number + 1]
        assert fields["feature_space"] == "new" and fields["origin"] == "imported"
        assert numpy.abs(difference_of(fields) - 2 * (sides[0].astype(float) - sides[1])).max() < 1e-5


def check_bad_history(stage, lines, rows):
    """The first bad line is named and ends it; what stood before it is sent."""
    sides = [{"features_left": left.tolist(), "features_right": right.tolist()}
             for left, right in rows[:3]]
    bad = [{**lines[k], **sides[k], "prompt_id": f"bad-{k}"} for k in range(3)]
    bad[1]["features_right"] = bad[1]["features_right"][:-1] + ["x"]
    path = stage.folder / "bad.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in bad), encoding="utf-8")
    done = refused(stage, 1, "bad.jsonl:2: features_right: value 7 is not a finite number", "send",
                   "history", path)
    assert "sent 1 labels" in done.stderr, done.stderr
    for change, words in (({"feature_space": "other"}, "feature_space: 'other' is not 'test'"),
                          ({"right_id": bad[0]["left_id"]}, "right_id: the same as left_id"),
                          ({"prompt_id": "p" * 1025}, "prompt_id: 1025 bytes; at most 1024"),
                          ({"features_left": [1], "features_right": [2]},
                           "features_left: 1 values, the space 'test' has 8")):
        line = json.dumps({**bad[0], "label_id": words, **change}) + "\n"
        refused(stage, 1, f"standard input:1: {words}", "send", "history", stdin=line)
    refused(stage, 1, "the ledger holds no SPACE yet", "send", "history", path,
            options={"topics.ledger": "empty"})
    refused(stage, 2, "must share: policy.beta", "send", "history", path,
            options={"policy.beta": 0.7})


def at_rest(scene):
    """All topics, once the loop stands still."""
    scene.load.stop()
    scene.stage.await_quiet(every=2.5)
    return read_run(scene.stage.brokers)


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, options=OPTIONS, labeller=Silent) as scene:
        scene.await_progress(LABELS)
        run = at_rest(scene)
        check_model(scene.stage, run)
        check_told(scene.stage, run)
        check_model_refuses(scene.stage)
        check_explain(scene.stage, run)
        check_withdraw(scene)
        check_late_labels(scene)
        check_history(scene)


if __name__ == "__main__":
    main()
