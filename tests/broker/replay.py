"""`infopair replay` over the topics of a real loop: what it says of the record is what the topics
and the worker say, and the worker's own rule and seed asks mostly what the worker has asked.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import contracts, information, judge  # noqa: E402
from support.faults import Scene  # noqa: E402
from support.ledger import read_run  # noqa: E402

OPTIONS = {"fit.every": 20, "features.scale": "auto", "budget.per_second": 20,
           "budget.burst": 20, "control.share": 0.25, "labels.probes": 0, "labels.lapse": 0}
LABELS = 200
QUIET = ("--quiet", "--json")


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def replay(stage, *words, **more):
    return lines_of(stage.command("replay", *QUIET, *words, **more))


def rule_of(lines, name):
    return next(line for line in lines if line.get("rule") == name)


def estimate_of(lines, name, target):
    return next(line for line in lines
                if line.get("estimate") == name and line["target"] == target)


def refused(stage, code, words, *line, **more):
    done = stage.command("replay", *line, check=False, **more)
    assert done.returncode == code and words in done.stderr, (line, done.returncode, done.stderr)


def check_record(lines, run, worker_trace):
    """The record as the topics have it; tr(I S) of the ledger as the worker says it itself."""
    head, recorded = lines[0], rule_of(lines, "recorded")
    asked, answers = run.of("selected"), information.answers(run.entries)
    assert head["completions"] == len(run.completions) and head["partitions"] == 3, head
    assert head["recorded_requests"] == recorded["asked"] == len(asked)
    assert recorded["answered_by_record"] == len(answers) > LABELS
    informative = [fields for fields in answers.values()
                   if fields["outcome"] not in information.NO_INFORMATION]
    assert recorded["labels"] == head["fit_labels"] == len(informative)
    assert abs(recorded["worker_trace"] / worker_trace - 1) < 1e-4, \
        (recorded["worker_trace"], worker_trace)


def check_overlap(lines):
    """The worker's rule and seed ask what was asked, more than chance would; their labels are those
    of the record."""
    own, uniform = rule_of(lines, "policy_trace"), rule_of(lines, "uniform")
    print(f"policy_trace asks {own['overlap']} of the {own['asked']} pairs again, uniform "
          f"{uniform['overlap']} of {uniform['asked']}")
    assert own["overlap"] > 3 * uniform["overlap"] and own["overlap"] > .2 * own["asked"], own
    assert own["answered_by_record"] >= .5 * own["overlap"], own
    assert own["trace"] < uniform["trace"] and own["c_ratio"] > 1, (own, uniform)


def check_asked(path, run, rule):
    """Each answer of the record is what the ledger holds, seen from the side that stands left."""
    answered = {}
    for fields in information.answers(run.entries).values():
        answered.setdefault(fields["pair_id"], []).append(fields)
    count = 0
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        pair_id = judge.pair_id_of(line["prompt_id"], line["left_id"], line["right_id"])
        if line["rule"] != rule:
            continue
        assert (line["answered_by"] == "record") == (pair_id in answered), line
        if line["answered_by"] != "record":
            continue
        count += 1
        said = [fields["probability_left"] if fields["left_id"] == line["left_id"]
                else 1 - fields["probability_left"] for fields in answered[pair_id]
                if fields["probability_left"] is not None]
        assert line["probability_left"] in said or line["probability_left"] is None, (line, said)
    return count


def check_estimates(lines, run):
    """What the worker logged as the chance of its pairs is what an engine that follows its ledger
    finds: the weights of the control arm's pairs for uniform ones are all 1 / control.share."""
    uniform = estimate_of(lines, "log_loss", "uniform pairs")
    arms = {entry.fields["request_id"]: entry.fields["arm"] for entry in run.of("selected")}
    control = sum(arms[request_id] == "control" and fields["probability_left"] is not None
                  for request_id, fields in information.answers(run.entries).items())
    print(f"uniform pairs: support {uniform['support']}, {uniform['effective_sample_size']} of "
          f"{uniform['labels']} labels count, {control} are the control arm's")
    assert abs(uniform["effective_sample_size"] / control - 1) < .02, (uniform, control)
    assert abs(uniform["support"] - 4 * list(arms.values()).count("control") / len(arms)) < .02
    assert uniform["supported"] and uniform["low"] < uniform["value"] < uniform["high"]
    greedy = next(line for line in lines if line.get("target") == "policy_trace")
    assert not greedy["supported"] and "does not draw" in greedy["reason"], greedy


def check_range(stage, run):
    times = sorted(entry.fields["issued_at"] for entry in run.of("selected"))
    begin, end = times[len(times) // 4], times[3 * len(times) // 4]
    path = stage.folder / "range.jsonl"
    lines = replay(stage, "--from", begin, "--to", end, "--rules", "uniform", "--oracle", "none",
                   "--asked", path)
    within = [entry for entry in run.of("selected") if begin <= entry.fields["issued_at"] < end]
    assert lines[0]["recorded_requests"] == len(within), (lines[0], len(within))
    assert begin <= lines[0]["start"] and lines[0]["end"] < end, lines[0]
    uniform = rule_of(lines, "uniform")
    assert uniform["answered_by_oracle"] == 0 and uniform["unanswered"] > 0, uniform
    known = {entry.fields["pair_id"] for entry in run.of("selected")
             if entry.fields["issued_at"] < begin}
    asked = {judge.pair_id_of(line["prompt_id"], line["left_id"], line["right_id"])
             for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    assert len(known) > 40 and len(asked) == uniform["asked"] and not known & asked, "asked before"
    refused(stage, 2, "holds no completions of that range", "--to", "2001-01-01")
    refused(stage, 2, "does not lie before --to", "--from", "2026-01-02", "--to", "2026-01-01")
    refused(stage, 2, "is no time such as", "--from", "yesterday")


def write_files(stage, run):
    """The topics as files."""
    completions, labels = stage.folder / "completions.jsonl", stage.folder / "labels.jsonl"
    asked = {entry.fields["request_id"]: entry.fields for entry in run.of("selected")}
    with completions.open("w", encoding="utf-8") as file:
        for record in sorted(run.completions, key=lambda each: (each.timestamp, each.partition,
                                                                each.offset)):
            completion = contracts.decode("completion", record.value)
            line = {name: completion[name] for name in ("prompt_id", "completion_id",
                                                        "feature_space", "policy_version")}
            line["features"] = numpy.frombuffer(completion["features"], "<f4").tolist()
            file.write(json.dumps({**line, "created_at": record.timestamp}) + "\n")
    with labels.open("w", encoding="utf-8") as file:
        for request_id, fields in information.answers(run.entries).items():
            request = asked[request_id]
            line = {name: fields[name] for name in ("prompt_id", "left_id", "right_id")}
            answer = {"outcome": fields["outcome"]} if fields["outcome"] else \
                {"probability_left": fields["probability_left"]}
            file.write(json.dumps({**line, **answer, "propensity": request["propensity"],
                                   "arm": request["arm"], "issued_at": request["issued_at"],
                                   "labelled_at": request["issued_at"] + 200}) + "\n")
    return "--completions", completions, "--labels", labels


def check_files(stage, run, topics):
    """The same past from files: one partition, and a space of their own."""
    lines = replay(stage, *write_files(stage, run), "--rules", "policy_trace")
    recorded, before = rule_of(lines, "recorded"), rule_of(topics, "recorded")
    for name in ("labels", "answered_by_record", "d"):
        assert recorded[name] == before[name], (name, recorded, before)
    assert abs(recorded["trace_last"] / before["trace_last"] - 1) < .1, (recorded, before)
    assert lines[0]["completions"] == topics[0]["completions"]
    uniform = estimate_of(lines, "log_loss", "uniform pairs")
    theirs = estimate_of(topics, "log_loss", "uniform pairs")
    assert abs(uniform["value"] - theirs["value"]) < theirs["high"] - theirs["low"], (uniform, theirs)


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, options=OPTIONS) as scene:
        scene.await_progress(LABELS)
        scene.load.stop()
        scene.stage.await_quiet(every=2.5)
        stage, run = scene.stage, read_run(scene.stage.brokers)
        worker_trace = scene.workers[0].metrics()["infopair_policy_trace"]
        path = stage.folder / "asked.jsonl"
        words = ("--rules", "policy_trace", "--asked", path)
        lines = replay(stage, *words)
        check_record(lines, run, worker_trace)
        check_overlap(lines)
        count = check_asked(path, run, "policy_trace")
        assert count == rule_of(lines, "policy_trace")["answered_by_record"] > 0, count
        check_estimates(lines, run)
        before = path.read_bytes()
        assert replay(stage, *words, "--jobs", "2") == lines and path.read_bytes() == before
        check_files(stage, run, lines)
        check_range(stage, run)
        refused(stage, 2, "policy_trace", "--rules", "policy_trase")
        refused(stage, 1, "topic 'absent' does not exist", options={"topics.completions": "absent"})


if __name__ == "__main__":
    main()
